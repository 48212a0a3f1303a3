"""The forms of the screen: typed text in, values out, and what stands in the way of saving them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session
from wtforms import Field, Form, IntegerField, PasswordField, StringField, ValidationError

from panel.errors import Choice, Conflict, Invalid, NeedsConfirmation, Refusal
from panel.i18n import Message
from panel.models.settings import Settings
from panel.preferences.parameter_kinds import (
    Certificate,
    Number,
    Parameter,
    ProxyUrl,
    Secret,
    Url,
)
from panel.preferences.parameter_table import PARAMETERS, PASSWORD, Parameters
from panel.preferences.server_fields import ServerFields
from panel.web.auth.lock import open_input
from panel.web.base.context import reading, writing
from panel.web.base.errors import wants_json
from panel.web.base.language import show


class WholeNumber(IntegerField):
    """A whole number, or None for an empty field; anything else stays there with the reason."""

    def process_formdata(self, valuelist: Sequence[Any]) -> None:
        """Take what was typed; where the form had no such field, what it began with stays."""
        if not valuelist:
            return
        text = str(valuelist[0]).strip()
        self.data = None
        if not text:
            return
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise ValueError(_("A whole number, in digits."))
        self.data = int(text)


class UrlField(StringField):
    """A URL; a password in it never comes back in the form."""

    def process_formdata(self, valuelist: Sequence[Any]) -> None:
        """Take what was typed. The user name stays, for which it is refused."""
        super().process_formdata([_PASSWORD_IN_URL.sub("@", str(text)) for text in valuelist])


# Up to the last @, since a password may have any character.
_PASSWORD_IN_URL = re.compile(r":(?!//).*@", re.DOTALL)


class PanelForm(Form):
    """A form that can be sent again: after a refusal it holds the typed values and the reason."""

    version = WholeNumber()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.acts: Mapping[str, Message] = {}
        self.choice: Choice | None = None
        self.conflict: Conflict | None = None
        self.status = 200

    @property
    def was_refused(self) -> bool:
        """Say whether the form comes back with what stands in the way of saving it."""
        return self.status != HTTPStatus.OK

    @property
    def confirmed(self) -> list[str]:
        """The acts that were warned of and ticked."""
        return request.form.getlist("confirmed")

    def refuse(self, refusal: Refusal) -> None:
        """Keep ``refusal`` to be shown with the form."""
        self.status = refusal.status
        if isinstance(refusal, Invalid):
            self._keep(refusal.problems)
        elif isinstance(refusal, NeedsConfirmation):
            self.acts, self.choice = refusal.acts, refusal.choice
        elif isinstance(refusal, Conflict):
            self.conflict = refusal
            # Sent again, the form is saved over what came between: that choice is offered now.
            self.version.raw_data, self.version.data = None, refusal.version
        else:
            self.form_errors.append(show(refusal.message))

    def _keep(self, problems: Mapping[str, Message]) -> None:
        for name, reason in problems.items():
            if name in self._fields:
                self._fields[name].errors = [show(reason)]
            else:
                self.form_errors.append(show(reason))


class IntervalForm(PanelForm):
    """How often to sync, in minutes."""

    interval_minutes = WholeNumber()

    def validate_interval_minutes(self, field: WholeNumber) -> None:
        """Refuse an empty field: it would not be 0."""
        if field.data is None:
            raise ValidationError(_("A whole number, in digits."))


@dataclass(frozen=True)
class TypedSecret:
    """A secret of a form: never filled in, and what was typed waits sealed in ``typed``."""

    password: Field
    typed: Field

    @property
    def typed_password(self) -> str | None:
        """The secret that was typed now, or in the same form before it came back."""
        return self.password.data or open_input(self.typed.data or "")


class PasswordForm(PanelForm):
    """A form with a password: never filled in, and what was typed waits sealed in ``typed``."""

    password = PasswordField()
    typed = StringField()

    @property
    def typed_password(self) -> str | None:
        """The password that was typed now, or in the same form before it came back."""
        return TypedSecret(self.password, self.typed).typed_password


class ParametersForm(PasswordForm):
    """A field for each parameter. What the form did not hold keeps its present value."""

    def __init__(self, formdata: Any = None, obj: Settings | None = None, **values: Any) -> None:
        # The table's fields follow those of every form with a password.
        self._unbound_fields = [*self._unbound_fields, *_parameter_fields()]
        saved = {name: parameter.read(obj) for name, parameter in PARAMETERS.items() if obj}
        super().__init__(formdata, data=saved, **values)

    def secret(self, parameter: Secret) -> TypedSecret:
        """Return the fields of a secret."""
        return TypedSecret(self[parameter.name], self[_typed_name(parameter)])

    def is_wrong(self, inside: Sequence[Parameter]) -> bool:
        """Say whether a reason stands beside one of these."""
        return any(self[parameter.name].errors for parameter in inside)

    def parameters(self) -> Parameters:
        """Return what was typed."""
        return Parameters(**dict(self._typed_values()))

    def _typed_values(self) -> Iterator[tuple[str, Any]]:
        for name, parameter in PARAMETERS.items():
            if isinstance(parameter, Secret):
                yield name, self.secret(parameter).typed_password
            elif isinstance(parameter, Number):
                yield name, self[name].data
            else:
                yield name, self[name].data or ""


def _parameter_fields() -> Iterator[tuple[str, Any]]:
    for name, parameter in PARAMETERS.items():
        if isinstance(parameter, Secret):
            yield name, PasswordField()
            yield _typed_name(parameter), StringField()
        else:
            yield name, _FIELDS.get(type(parameter), StringField)()


class _CertificatesField(StringField):
    """Certificates in PEM form; a private key among them never comes back in the form."""

    def process_formdata(self, valuelist: Sequence[Any]) -> None:
        """Take what was typed. Of a private key the first line stays, for which it is refused."""
        super().process_formdata([_PRIVATE_KEY.sub(r"\1\n", str(text)) for text in valuelist])


_FIELDS: Mapping[type[Parameter], type[Field]] = {
    Number: WholeNumber,
    Certificate: _CertificatesField,
    Url: UrlField,
    ProxyUrl: UrlField,
}
# Up to the line that ends it, or to the end if there is none.
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [^\n-]*PRIVATE KEY-----).*?(?:-----END [^\n-]*PRIVATE KEY-----|\Z)", re.DOTALL
)


def _typed_name(parameter: Secret) -> str:
    return "typed" if parameter is PASSWORD else f"typed_{parameter.name}"


class ServerForm(PasswordForm):
    """A row of the list of servers; ``key`` tells a form sent twice from two forms."""

    key = StringField()
    sync_id = WholeNumber()
    name = StringField()
    store = StringField()
    url = UrlField()
    user_name = StringField()

    def server_fields(self) -> ServerFields:
        """Return what was typed."""
        return ServerFields(
            sync_id=self.sync_id.data,
            name=self.name.data or "",
            store=self.store.data or "",
            url=self.url.data,
            user_name=self.user_name.data or "",
            password=self.typed_password,
        )


def attempt(
    form: PanelForm,
    act: Callable[[Session], ResponseReturnValue],
    check: Callable[[Session], object] | None = None,
) -> ResponseReturnValue | None:
    """Return the answer of ``act``, done in one transaction.

    Return None if it was refused, and then ``form`` says why. A form that is wrong in itself is not
    saved: ``check`` raises what else stands in its way, and changes nothing.
    """
    form.validate()
    try:
        if wrong := {field.name: Message(field.errors[0]) for field in form if field.errors}:
            raise Invalid({**_problems(check), **wrong})
        with writing() as session:
            return act(session)
    except (Invalid, NeedsConfirmation, Conflict) as refusal:
        if wants_json():
            raise
        form.refuse(refusal)
        return None


def _problems(check: Callable[[Session], object] | None) -> Mapping[str, Message]:
    try:
        if check is not None:
            check(reading())
    except Invalid as refusal:
        return refusal.problems
    except (NeedsConfirmation, Conflict):
        # Asked once the form is right.
        pass
    return {}
