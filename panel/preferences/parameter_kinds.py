"""The kinds of parameters, each with its parsing, checks, storage and control on the page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from panel.activity.log import SECRET
from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.settings import Settings
from panel.preferences.field_checks import Checks
from panel.security.hashes import equal_in_constant_time
from panel.security.vault import Unreadable, Vault

_PEM_BEGINS = "-----BEGIN "
# An authority and those that it gave its word for.
_MOST_CERTIFICATES = 10


class Concerns(StrEnum):
    """The servers whose page shows a parameter."""

    EVERYBODY = "everybody"
    PRIMARY = "primary"
    SATELLITE = "satellite"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: its names and sentences, its bounds, its storage and its place on the page.

    ``name`` is the name of its column, of its form field and of its value in Activity.
    ``in_shell`` is its key in the shell and in a file, if that differs from ``name``.
    ``concerns`` says which servers show it. ``help_on_primary`` replaces ``help`` on a primary.
    ``empty`` is one word for a missing value; ``example`` is the placeholder on a satellite.
    ``part`` is the heading under which it is folded. While the lock is closed, that heading shows
    ``brief`` for a value that is set, with its first eight characters as ``start``.
    """

    # How a page asks for it ("line", "lines", "choice" or "secret"), and with which keyboard.
    control: ClassVar[str] = "line"
    keyboard: ClassVar[str | None] = None
    is_secret: ClassVar[bool] = False
    # Whether the shell reads it from a file: it is secret, or has several lines.
    is_read_from_file: ClassVar[bool] = False

    name: str
    label: Message
    help: Message
    help_on_primary: Message | None = None
    in_shell: str = ""
    concerns: Concerns = Concerns.EVERYBODY
    default: Any = ""
    empty: Message | None = None
    example: str = ""
    part: Message | None = None
    brief: Message | None = None

    @property
    def key(self) -> str:
        """Return its key in the shell and in a file."""
        return self.in_shell or self.name

    @property
    def hint(self) -> str:
        """Return what the shell says of its values; empty where the label says enough."""
        return ""

    def is_shown(self, settings: Settings) -> bool:
        """Say whether the page of this server shows it."""
        if self.concerns == Concerns.EVERYBODY:
            return True
        is_primarys = self.concerns == Concerns.PRIMARY
        return settings.is_primary if is_primarys else settings.is_satellite

    def help_for(self, settings: Settings) -> Message:
        """Return its help on the page of this server."""
        return (settings.is_primary and self.help_on_primary) or self.help

    def placeholder(self, settings: Settings) -> Message | None:
        """Return the placeholder of its field."""
        if self.example and settings.is_satellite:
            return Message(self.example)
        return self.empty

    def parse(self, text: str) -> Any:
        """Return the value for what was given to the shell. Raise :class:`Invalid`."""
        return text

    def tidy(self, checks: Checks, value: Any) -> Any:
        """Return ``value`` as it is saved; add what is wrong with it to ``checks``."""
        raise NotImplementedError

    def read(self, settings: Settings) -> Any:
        """Return the saved value."""
        return getattr(settings, self.name)

    def write(self, settings: Settings, vault: Vault, value: Any) -> None:
        """Save ``value``, which has been through ``tidy``."""
        setattr(settings, self.name, value)

    def differs(self, settings: Settings, vault: Vault, value: Any) -> bool:
        """Say whether saving ``value`` would change anything."""
        return bool(value != self.read(settings))

    def note(self, settings: Settings) -> Any:
        """Return what Activity records of the saved value."""
        return self.read(settings)

    def shown(self, settings: Settings) -> Any:
        """Return what the shell prints for programs."""
        return self.read(settings)

    def in_words(self, settings: Settings) -> Any:
        """Return what the shell prints for people."""
        value = self.read(settings)
        return self.empty if value is None else value


@dataclass(frozen=True, kw_only=True)
class Number(Parameter):
    """A whole number from ``smallest`` to ``largest``, or None unless it is ``required``."""

    keyboard = "numeric"

    smallest: int
    largest: int
    # Why a number out of bounds is refused.
    reason: Message
    required: bool = False
    default: int | None = None

    @property
    def hint(self) -> str:
        """Return the word for an empty one."""
        return f"or {self.empty}" if self.empty else ""

    def parse(self, text: str) -> int | None:
        """Return the number; the word for an empty one means None."""
        text = text.strip()
        if text in ("", str(self.empty)):
            return None
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise Invalid({self.name: say("A whole number, in digits.")})
        return int(text)

    def tidy(self, checks: Checks, value: int | None) -> int | None:
        """Return ``value``, or None if it is out of bounds: a database could not look it up."""
        if value is None and not self.required:
            return None
        if value is not None and self.smallest <= value <= self.largest:
            return value
        checks.refuse(self.name, self.reason)
        return None


@dataclass(frozen=True, kw_only=True)
class Text(Parameter):
    """One line of at most ``longest`` characters."""

    longest: int

    def tidy(self, checks: Checks, value: str) -> str:
        """Return it trimmed."""
        return checks.text(self.name, value, self.longest)


@dataclass(frozen=True, kw_only=True)
class Url(Parameter):
    """A URL, see :func:`panel.preferences.field_checks.check_url`."""

    keyboard = "url"

    def tidy(self, checks: Checks, value: str) -> str:
        """Return its normal form."""
        return checks.url(self.name, value)


@dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    """One of ``choices``: what people call each, by its value."""

    control = "choice"

    choices: Mapping[str, Message]
    # Why any other value is refused.
    reason: Message

    @property
    def hint(self) -> str:
        """Return the values."""
        return ", ".join(self.choices)

    def tidy(self, checks: Checks, value: str) -> str:
        """Return it as it is."""
        if value not in self.choices:
            checks.refuse(self.name, self.reason)
        return value


@dataclass(frozen=True, kw_only=True)
class Certificate(Parameter):
    """Certificates in PEM form, of at most ``longest`` characters."""

    control = "lines"
    is_read_from_file = True

    longest: int

    @property
    def hint(self) -> str:
        """Return how it is read."""
        return "@FILE"

    def tidy(self, checks: Checks, value: str) -> str:
        """Return the certificates alone, without what stands between them."""
        pem = "\n".join(line.strip() for line in value.strip().splitlines())
        if not pem:
            return ""
        if reason := self._reason_against(pem):
            checks.refuse(self.name, reason)
            return ""
        # Imported late: it takes 2 MB, and hardly anybody has an authority of their own.
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            found = x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            found = []
        # One that has no end is not found.
        if not found or len(found) != pem.count(_PEM_BEGINS):
            checks.refuse(self.name, say("This is no certificate in PEM form."))
            return ""
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)

    def _reason_against(self, pem: str) -> Message | None:
        if "PRIVATE KEY" in pem:
            return say("There is a private key in it. Paste the certificate alone.")
        if len(pem) > self.longest:
            return say("At most %(longest)s characters.", longest=self.longest)
        if pem.count(_PEM_BEGINS) > _MOST_CERTIFICATES:
            return say("At most %(most)s certificates.", most=_MOST_CERTIFICATES)
        return None


@dataclass(frozen=True, kw_only=True)
class Fingerprint(Parameter):
    """A SHA-256 in hex digits, typed with colons or without."""

    def tidy(self, checks: Checks, value: str) -> str:
        """Return its digits in lower case."""
        fingerprint = re.sub(r"[\s:]", "", value).lower()
        if fingerprint and not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
            checks.refuse(self.name, say("A SHA-256 fingerprint has 64 hexadecimal digits."))
        return fingerprint


@dataclass(frozen=True, kw_only=True)
class Secret(Parameter):
    """A secret, sealed in the column ``<name>_sealed``. None or empty leaves it as it is.

    It is compared with what was typed, and never shown or written down.
    """

    control = "secret"
    is_secret = True
    is_read_from_file = True

    default: None = None

    @property
    def hint(self) -> str:
        """Return how it is read."""
        return "@FILE"

    def tidy(self, checks: Checks, value: str | None) -> str | None:
        """Return it as it is: spaces may be a part of it."""
        return checks.secret(self.name, value) if value else None

    def read(self, settings: Settings) -> None:
        """Return what leaves it as it is."""

    def sealed(self, settings: Settings) -> str | None:
        """Return it as it is kept."""
        sealed: str | None = getattr(settings, f"{self.name}_sealed")
        return sealed

    def keep(self, settings: Settings, sealed: str | None) -> None:
        """Keep it as it is ``sealed``, or none."""
        setattr(settings, f"{self.name}_sealed", sealed)

    def write(self, settings: Settings, vault: Vault, value: str) -> None:
        """Keep ``value`` sealed."""
        self.keep(settings, vault.seal(value))

    def clear(self, settings: Settings) -> None:
        """Forget the secret."""
        self.keep(settings, None)

    def open(self, settings: Settings, vault: Vault) -> str | None:
        """Return it in the clear; None if none is set. Raise ``Unreadable``."""
        sealed = self.sealed(settings)
        return None if sealed is None else vault.open(sealed)

    def is_set(self, settings: Settings) -> bool:
        """Say whether there is one."""
        return self.sealed(settings) is not None

    def differs(self, settings: Settings, vault: Vault, value: str | None) -> bool:
        """Say whether something was typed that is not kept already."""
        return bool(value) and not self.matches(settings, vault, value or "")

    def matches(self, settings: Settings, vault: Vault, value: str) -> bool:
        """Say whether ``value`` is kept already."""
        try:
            return equal_in_constant_time(self.open(settings, vault) or "", value)
        except Unreadable:
            return False

    def note(self, settings: Settings) -> str:
        """Return the word that stands for a secret."""
        return SECRET

    def shown(self, settings: Settings) -> bool:
        """Return whether there is one."""
        return self.is_set(settings)

    def in_words(self, settings: Settings) -> str:
        """Return whether there is one."""
        return "set" if self.is_set(settings) else "not set"
