"""The table of the parameters: the page, the shell, files, Activity and the checks follow from it.

A new parameter needs an entry here, a column with a migration, and translations of its sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from panel.i18n import Message, say
from panel.models.base import (
    HIGHEST_SYNC_ID,
    LARGEST_REQUEST,
    LONGEST_INTERVAL_MINUTES,
    NAME_LENGTH,
    PEM_LENGTH,
    PRIMARY_SYNC_ID,
    SMALLEST_REQUEST,
    STORE_LENGTH,
    USER_NAME_LENGTH,
)
from panel.models.settings import Settings, SyncProtocol
from panel.preferences.field_checks import Checks
from panel.preferences.parameter_kinds import (
    Certificate,
    Concerns,
    Fingerprint,
    Number,
    OneOf,
    Parameter,
    ProxyUrl,
    Secret,
    Text,
    Url,
)
from panel.preferences.shared_password import is_password, read_password, set_password
from panel.security.vault import Vault


@dataclass(frozen=True, kw_only=True)
class SharedPassword(Secret):
    """The shared password, which a satellite keeps sealed and a primary as a hash."""

    def write(self, settings: Settings, vault: Vault, value: str) -> None:
        """Store ``value`` in the form that the server's role needs."""
        set_password(settings, vault, value)

    def clear(self, settings: Settings) -> None:
        """Remove the password, in either form."""
        settings.password_sealed = settings.password_hash = None
        settings.password_changed_at = None

    def open(self, settings: Settings, vault: Vault) -> str | None:
        """Return the password of a satellite; None on a primary, which has only its hash.

        Raise :class:`Unreadable`.
        """
        return read_password(settings, vault)

    def is_set(self, settings: Settings) -> bool:
        """Say whether a password is set, in either form."""
        return settings.has_password

    def matches(self, settings: Settings, vault: Vault, value: str) -> bool:
        """Say whether ``value`` is the password that is set, in either form."""
        return is_password(settings, vault, value)


_CERTIFICATE, _PROXY = say("Certificate"), say("Proxy")
PROTOCOL = OneOf(
    name="protocol",
    label=say("Protocol"),
    help=say("Ask finds out. Ours is the lighter; v5 is for a primary that is mSupply."),
    concerns=Concerns.SATELLITE,
    choices={
        SyncProtocol.ASK: say("ask, ours first"),
        SyncProtocol.OWN: say("ours"),
        SyncProtocol.V5: say("mSupply Sync v5"),
    },
    reason=say("Choose one of the protocols."),
    default=SyncProtocol.ASK,
)
SYNC_ID = Number(
    name="sync_id",
    label=say("Sync ID"),
    help=say(
        "1 is the primary, higher ones are satellites, and no two are alike. Empty: stand-alone."
    ),
    smallest=PRIMARY_SYNC_ID,
    largest=HIGHEST_SYNC_ID,
    reason=say("A whole number from 1 to %(highest)s.", highest=HIGHEST_SYNC_ID),
    empty=say("stand-alone"),
)
PASSWORD = SharedPassword(
    name="password",
    label=say("Password"),
    help=say("Never shown. Empty leaves the one that is set."),
)
PROXY_PASSWORD = Secret(
    name="proxy_password",
    label=say("Password at the proxy"),
    help=say("Never shown. Empty leaves the one that is set."),
    concerns=Concerns.SATELLITE,
    part=_PROXY,
)
# In the order of the screen, where the parameters of one folded part follow each other.
_ENTRIES: tuple[Parameter, ...] = (
    SYNC_ID,
    Text(
        name="name",
        label=say("Name"),
        help=say("As the other server lists this one, letter for letter, or sync is refused."),
        longest=NAME_LENGTH,
    ),
    Text(
        name="store",
        label=say("Store"),
        help=say("The code of this store, as the other server lists it."),
        longest=STORE_LENGTH,
    ),
    Text(
        name="user_name",
        label=say("User name"),
        help=say(
            "With the Password, what satellites sign in with: the same here and on the other "
            "server."
        ),
        longest=USER_NAME_LENGTH,
    ),
    PASSWORD,
    Url(
        name="url",
        label=say("URL"),
        help=say("The address of the primary. Test connection tells whether it is right."),
        help_on_primary=say("Leave it empty on the primary: one here disables sync for all."),
        example="https://central.example.org",
    ),
    Number(
        name="request_size",
        label=say("Sync request size"),
        help=say(
            "Records in one batch. Empty: as many as the line takes well. Fewer lose less when it "
            "breaks."
        ),
        smallest=SMALLEST_REQUEST,
        largest=LARGEST_REQUEST,
        reason=say(
            "Automatic (empty), or from %(smallest)s to %(largest)s records.",
            smallest=SMALLEST_REQUEST,
            largest=LARGEST_REQUEST,
        ),
        empty=say("automatic"),
    ),
    Text(
        name="contact",
        label=say("Contact"),
        help=say("Name and number."),
        longest=NAME_LENGTH,
    ),
    PROTOCOL,
    Fingerprint(
        name="fingerprint",
        label=say("SHA-256 fingerprint"),
        help=say(
            "Of the certificate of the primary, if no authority signed it. Any other is refused "
            "then."
        ),
        concerns=Concerns.SATELLITE,
        part=_CERTIFICATE,
        brief=say("fingerprint %(start)s…"),
    ),
    Certificate(
        name="private_ca",
        label=say("Private authority (PEM)"),
        help=say("The certificate of your own authority, if it signed that of the primary."),
        concerns=Concerns.SATELLITE,
        longest=PEM_LENGTH,
        part=_CERTIFICATE,
        brief=say("a private authority"),
    ),
    ProxyUrl(
        name="proxy",
        label=say("Proxy"),
        help=say("On the way to the primary. Empty: that of the service's environment."),
        concerns=Concerns.SATELLITE,
        example="http://proxy:3128",
        part=_PROXY,
        brief=Message("%(value)s"),
    ),
    Text(
        name="proxy_user",
        label=say("User name at the proxy"),
        help=say("If it asks for one."),
        concerns=Concerns.SATELLITE,
        longest=USER_NAME_LENGTH,
        part=_PROXY,
    ),
    PROXY_PASSWORD,
)
PARAMETERS = {parameter.name: parameter for parameter in _ENTRIES}
# Not in the table, since it is changed without an unlock, by a form and a verb of its own.
INTERVAL = Number(
    name="interval_minutes",
    in_shell="sync_interval",
    label=say("Sync time interval"),
    help=say("0 pauses sync once the current batch has finished."),
    smallest=0,
    largest=LONGEST_INTERVAL_MINUTES,
    reason=say("Whole minutes from 0 to %(longest)s.", longest=LONGEST_INTERVAL_MINUTES),
    required=True,
)


def preferences() -> dict[str, Parameter]:
    """Return the interval and every parameter, each under its key in the shell and in a file."""
    return {parameter.key: parameter for parameter in (INTERVAL, *PARAMETERS.values())}


def plain_preferences() -> dict[str, Parameter]:
    """Return what :func:`preferences` returns, without the secrets."""
    return {key: parameter for key, parameter in preferences().items() if not parameter.is_secret}


def secrets() -> list[Secret]:
    """Return the parameters that are secret."""
    return [parameter for parameter in PARAMETERS.values() if isinstance(parameter, Secret)]


def shown_parts(settings: Settings) -> list[tuple[Message | None, list[Parameter]]]:
    """Return the parameters that the page of this server shows, in groups.

    Each group has the heading under which it is folded, None if it is not folded.
    """
    shown = (parameter for parameter in PARAMETERS.values() if parameter.is_shown(settings))
    return [(part, list(inside)) for part, inside in groupby(shown, lambda one: one.part)]


def in_brief(inside: Sequence[Parameter], settings: Settings) -> Message | None:
    """Return what the heading of a part shows while it is folded and locked; None if nothing.

    That is the ``brief`` of the first parameter ``inside`` the part that has a value.
    """
    for parameter in inside:
        if value := parameter.for_programs(settings):
            shown = {"start": str(value)[:8], "value": value}
            return replace(parameter.brief or parameter.label, values=shown)
    return None


class Parameters:
    """A typed value for every parameter; one that is not given has the parameter's default.

    Each value is an attribute with the parameter's name. A secret that is None stays unchanged.
    Raise ``TypeError`` for a name that is no parameter.
    """

    # Those that the code reads by name; the others are read with ``[name]``.
    sync_id: int | None
    user_name: str
    password: str | None
    url: str

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - PARAMETERS.keys():
            raise TypeError(f"no parameter: {', '.join(sorted(unknown))}")
        defaults = {parameter.name: parameter.default for parameter in PARAMETERS.values()}
        vars(self).update(defaults | values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: use replace()")

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def replace(self, **changes: Any) -> "Parameters":
        """Return a copy of these values, with ``changes``."""
        return Parameters(**{**vars(self), **changes})

    @property
    def is_primary(self) -> bool:
        """Say whether satellites would call this server."""
        return self.sync_id == PRIMARY_SYNC_ID

    @property
    def is_satellite(self) -> bool:
        """Say whether this server would call a primary."""
        return self.sync_id is not None and not self.is_primary


def tidy(checks: Checks, typed: Parameters) -> Parameters:
    """Return the values in the form that is saved; add the reasons against any to ``checks``.

    Each value is checked by itself, not against the others.
    """
    return Parameters(
        **{name: parameter.tidy(checks, typed[name]) for name, parameter in PARAMETERS.items()}
    )


def parameters_of(settings: Settings) -> Parameters:
    """Return the saved parameters, with None for each secret, which leaves it unchanged."""
    return Parameters(**{name: parameter.read(settings) for name, parameter in PARAMETERS.items()})
