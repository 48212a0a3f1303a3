"""The kinds of parameters, each with its parsing, checks, storage and control on the page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar
from urllib.parse import urlsplit

from panel.activity.log import SECRET
from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.settings import Settings
from panel.preferences.field_checks import Checks
from panel.security.hashes import equal_in_constant_time
from panel.security.vault import Unreadable, Vault

_PEM_BEGINS = "-----BEGIN "
# The certificate of an authority, and those of the authorities that it signed.
_MOST_CERTIFICATES = 10


class Concerns(StrEnum):
    """The servers whose page shows a parameter."""

    EVERY_SERVER = "every_server"
    PRIMARY = "primary"
    SATELLITE = "satellite"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: its names and sentences, its bounds, its storage and its place on the page.

    ``name`` is the name of its column, of its form field and of its value in Activity.
    ``in_shell`` is its key in the shell and in a file, if that differs from ``name``.
    ``concerns`` says on which servers the page shows it. ``help_on_primary`` replaces ``help`` on a
    primary. ``empty`` is a word for a missing value; ``example`` is the placeholder on a satellite.
    ``part`` is the heading of the folded part of the form that has it. While the lock is closed,
    that heading shows ``brief`` if a value is set, with the ``value`` and its first eight
    characters as ``start``.
    """

    # How a page asks for it ("line", "lines", "choice" or "secret"), and with which keyboard (the
    # attribute inputmode of HTML).
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
    concerns: Concerns = Concerns.EVERY_SERVER
    default: Any = ""
    empty: Message | None = None
    example: str = ""
    part: Message | None = None
    brief: Message | None = None

    @property
    def key(self) -> str:
        """Return the parameter's key in the shell and in a file."""
        return self.in_shell or self.name

    @property
    def hint(self) -> str:
        """Return what the shell's help says about the values; empty if the label says enough."""
        return ""

    def is_shown(self, settings: Settings) -> bool:
        """Say whether the page of this server shows the parameter."""
        if self.concerns == Concerns.EVERY_SERVER:
            return True
        is_for_primary = self.concerns == Concerns.PRIMARY
        return settings.is_primary if is_for_primary else settings.is_satellite

    def help_for(self, settings: Settings) -> Message:
        """Return the help that the page of this server shows."""
        return (settings.is_primary and self.help_on_primary) or self.help

    def placeholder(self, settings: Settings) -> Message | None:
        """Return the placeholder of the form field; None if it has none."""
        if self.example and settings.is_satellite:
            return Message(self.example)
        return self.empty

    def parse(self, text: str) -> Any:
        """Return the value that ``text``, given to the shell, means. Raise :class:`Invalid`."""
        return text

    def tidy(self, checks: Checks, value: Any) -> Any:
        """Return ``value`` in the form that is saved; add the reason to ``checks`` if invalid."""
        raise NotImplementedError

    def read(self, settings: Settings) -> Any:
        """Return the saved value."""
        return getattr(settings, self.name)

    def write(self, settings: Settings, vault: Vault, value: Any) -> None:
        """Save ``value``, which has been through ``tidy``."""
        setattr(settings, self.name, value)

    def differs(self, settings: Settings, vault: Vault, value: Any) -> bool:
        """Say whether saving ``value`` would change the saved value."""
        return bool(value != self.read(settings))

    def for_activity(self, settings: Settings) -> Any:
        """Return the saved value as Activity records it."""
        return self.read(settings)

    def for_programs(self, settings: Settings) -> Any:
        """Return the saved value as the shell prints it for programs (JSON)."""
        return self.read(settings)

    def for_people(self, settings: Settings) -> Any:
        """Return the saved value as the shell prints it for people."""
        value = self.read(settings)
        return self.empty if value is None else value


@dataclass(frozen=True, kw_only=True)
class Number(Parameter):
    """A whole number from ``smallest`` to ``largest``, or None unless it is ``required``."""

    keyboard = "numeric"

    smallest: int
    largest: int
    # The reason that is given for a number out of bounds.
    reason: Message
    required: bool = False
    default: int | None = None

    @property
    def hint(self) -> str:
        """Return the word that stands for no number."""
        return f"or {self.empty}" if self.empty else ""

    def parse(self, text: str) -> int | None:
        """Return the number in ``text``; None if it is empty or the word for no number.

        Raise :class:`Invalid` for anything else.
        """
        text = text.strip()
        if text in ("", str(self.empty)):
            return None
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise Invalid({self.name: say("A whole number, in digits.")})
        return int(text)

    def tidy(self, checks: Checks, value: int | None) -> int | None:
        """Return ``value``; None if it is out of bounds, since a database may not take it."""
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
        """Return ``value`` stripped."""
        return checks.text(self.name, value, self.longest)


@dataclass(frozen=True, kw_only=True)
class Url(Parameter):
    """A URL, see :func:`panel.preferences.field_checks.check_url`."""

    keyboard = "url"

    def tidy(self, checks: Checks, value: str) -> str:
        """Return the normalised URL."""
        return checks.url(self.name, value)


@dataclass(frozen=True, kw_only=True)
class ProxyUrl(Url):
    """The URL of a proxy: http if it names no scheme, and without a path."""

    def tidy(self, checks: Checks, value: str) -> str:
        """Return the normalised URL."""
        value = value.strip()
        url = checks.url(self.name, f"http://{value}" if value and "://" not in value else value)
        if not urlsplit(url).path:
            return url
        checks.refuse(self.name, say("A proxy has a host and a port, and no path."))
        return ""


@dataclass(frozen=True, kw_only=True)
class OneOf(Parameter):
    """One of ``choices``, which maps each value to its label."""

    control = "choice"

    choices: Mapping[str, Message]
    # The reason that is given for any other value.
    reason: Message

    @property
    def hint(self) -> str:
        """Return the values, separated by commas."""
        return ", ".join(self.choices)

    def tidy(self, checks: Checks, value: str) -> str:
        """Return ``value`` unchanged."""
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
        """Return how the shell takes it: from a file."""
        return "@FILE"

    def tidy(self, checks: Checks, value: str) -> str:
        """Return the certificates alone, without the text around them."""
        pem = "\n".join(line.strip() for line in value.strip().splitlines())
        if not pem:
            return ""
        if reason := self._reason_against(pem):
            checks.refuse(self.name, reason)
            return ""
        # Imported late: it takes 2 MB of memory, and few have an authority of their own.
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            found = x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            found = []
        # A certificate without its end line is not found, so the two numbers differ.
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
        """Return the digits in lower case, without colons and spaces."""
        fingerprint = re.sub(r"[\s:]", "", value).lower()
        if fingerprint and not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
            checks.refuse(self.name, say("A SHA-256 fingerprint has 64 hexadecimal digits."))
        return fingerprint


@dataclass(frozen=True, kw_only=True)
class Secret(Parameter):
    """A secret, stored sealed in the column ``<name>_sealed``.

    As a typed value, None or an empty text leaves the stored secret unchanged. The secret is
    compared with what was typed, and is never shown or logged.
    """

    control = "secret"
    is_secret = True
    is_read_from_file = True

    default: None = None

    @property
    def hint(self) -> str:
        """Return how the shell takes it: from a file."""
        return "@FILE"

    def tidy(self, checks: Checks, value: str | None) -> str | None:
        """Return ``value`` unchanged, since spaces may be a part of it; None if it is empty."""
        return checks.secret(self.name, value) if value else None

    def read(self, settings: Settings) -> None:
        """Return None, the value that leaves the secret unchanged."""

    def sealed(self, settings: Settings) -> str | None:
        """Return the sealed secret as it is stored; None if none is set."""
        sealed: str | None = getattr(settings, f"{self.name}_sealed")
        return sealed

    def set_sealed(self, settings: Settings, sealed: str | None) -> None:
        """Store a secret that is ``sealed`` already; None stores that none is set."""
        setattr(settings, f"{self.name}_sealed", sealed)

    def write(self, settings: Settings, vault: Vault, value: str) -> None:
        """Seal ``value`` and store it."""
        self.set_sealed(settings, vault.seal(value))

    def clear(self, settings: Settings) -> None:
        """Remove the secret."""
        self.set_sealed(settings, None)

    def open(self, settings: Settings, vault: Vault) -> str | None:
        """Return the secret as plain text; None if none is set. Raise :class:`Unreadable`."""
        sealed = self.sealed(settings)
        return None if sealed is None else vault.open(sealed)

    def is_set(self, settings: Settings) -> bool:
        """Say whether a secret is set."""
        return self.sealed(settings) is not None

    def differs(self, settings: Settings, vault: Vault, value: str | None) -> bool:
        """Say whether ``value`` is a secret other than the stored one."""
        return bool(value) and not self.matches(settings, vault, value or "")

    def matches(self, settings: Settings, vault: Vault, value: str) -> bool:
        """Say whether ``value`` is the stored secret."""
        try:
            return equal_in_constant_time(self.open(settings, vault) or "", value)
        except Unreadable:
            return False

    def for_activity(self, settings: Settings) -> str:
        """Return the word that stands for a secret in Activity."""
        return SECRET

    def for_programs(self, settings: Settings) -> bool:
        """Return whether a secret is set."""
        return self.is_set(settings)

    def for_people(self, settings: Settings) -> str:
        """Return a word for whether a secret is set."""
        return "set" if self.is_set(settings) else "not set"
