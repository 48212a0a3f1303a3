"""Checks of typed values, which gather a reason for each invalid field."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import URL_LENGTH
from panel.security.hashes import is_about, is_known

# OWASP ASVS 5.0, 6.2.1, asks for at least eight characters.
SHORTEST_SECRET, LONGEST_SECRET = 10, 200
HTTP_WARNING = say(
    "With http, everything on the way can be read and changed by others, the records too. "
    "Use https if the primary can."
)
PRIMARY_URL_WARNING = say("This server is the primary: a URL here disables sync for all.")
# Loopback, private (RFC 1918, RFC 4193) and link-local networks. ipaddress.is_private includes
# networks for documentation and tests as well.
_PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "::1/128", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
# What a satellite appends to the URL, in either protocol.
_SYNC_PATH = re.compile(r"^([^?#]*?)/sync/(exchange|part/.*|v5(/.*)?)/*(\?.*)?$")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:%-]+)*/?")


class Checks:
    """Checks typed values, returns them normalised, and gathers reasons in ``problems``.

    An invalid value comes back empty, so that later checks may look it up in the database like any
    other: nothing is saved, because :meth:`finish` raises.
    """

    def __init__(self) -> None:
        self.problems: dict[str, Message] = {}

    def refuse(self, field: str, reason: Message) -> None:
        """Add ``reason`` for ``field``, unless the field has one already."""
        self.problems.setdefault(field, reason)

    def finish(self) -> None:
        """Raise :class:`Invalid` with all reasons, if there are any."""
        if self.problems:
            raise Invalid(self.problems)

    def text(self, field: str, value: str, longest: int, missing: Message | None = None) -> str:
        """Return ``value`` stripped; it must be one line of at most ``longest`` characters.

        ``missing`` is the reason for an empty value; without it, an empty one is valid.
        """
        value = value.strip()
        if missing is not None and not value:
            self.refuse(field, missing)
        return self._line(field, value, longest)

    def secret(self, field: str, value: str) -> str:
        """Return ``value``, spaces included: one line of 1 to 200 characters."""
        return self._line(field, value, LONGEST_SECRET)

    def new_secret(self, field: str, value: str, *names: str) -> str:
        """Return ``value``, which somebody chose just now for whoever has one of ``names``.

        It must not be easy to guess (:func:`why_weak`).
        """
        if reason := why_weak(value, *names):
            self.refuse(field, reason)
            return ""
        return self._line(field, value, LONGEST_SECRET)

    def _line(self, field: str, value: str, longest: int) -> str:
        if len(value) > longest:
            self.refuse(field, say("At most %(longest)s characters.", longest=longest))
            return ""
        if not value.isprintable():
            self.refuse(field, say("Only letters, digits, signs and spaces, in one line."))
            return ""
        return value

    def url(self, field: str, value: str) -> str:
        """Return ``value`` normalised by :func:`check_url`."""
        try:
            return check_url(value)[0]
        except Invalid as refusal:
            self.refuse(field, refusal.problems["url"])
            return ""


def why_weak(secret: str, *names: str) -> Message | None:
    """Return why ``secret`` is too easy to guess for whoever has one of ``names``; None if not.

    OWASP ASVS 5.0, 6.2.1, 6.2.4 and 6.2.11.
    """
    if len(secret) > LONGEST_SECRET:
        # Refused for that, and not worth the time to look at.
        return None
    if len(secret) < SHORTEST_SECRET:
        return say("At least %(shortest)s characters.", shortest=SHORTEST_SECRET)
    if any(is_about(secret, name) for name in names):
        return say("It is little more than the name. Three or four words of your own are better.")
    if is_known(secret):
        return say("Many use this one. Three or four words of your own are better.")
    return None


def check_url(text: str) -> tuple[str, bool]:
    """Return the normalised URL of ``text``, and whether its http needs a confirmed warning.

    "Central.example.org/" becomes "https://central.example.org"; empty stays empty. The warning is
    for http to any host but a loopback or private one. Raise :class:`Invalid` (field ``url``).
    """
    text = text.strip()
    if not text:
        return "", False
    if len(text) > URL_LENGTH:
        raise _invalid(say("At most %(longest)s characters.", longest=URL_LENGTH))
    parts = _split(text)
    host, is_private = _check_host(parts.hostname or "")
    port = _port(parts)
    path = without_sync_path(parts.path).rstrip("/")
    if not _PATH.fullmatch(parts.path) or {".", ".."} & set(path.split("/")):
        raise _not_understood()
    return f"{parts.scheme}://{host}{port}{path}", parts.scheme == "http" and not is_private


def without_sync_path(url: str) -> str:
    """Return ``url`` without the address of an exchange at its end, as it is pasted from a log."""
    return _SYNC_PATH.sub(r"\1", url)


def _split(text: str) -> SplitResult:
    if not text.isprintable() or " " in text or "\\" in text:
        raise _not_understood()
    if "?" in text or "#" in text:
        raise _invalid(say("Nothing may follow the path: leave out ? and #."))
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError as error:
        raise _not_understood() from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise _invalid(say("A URL begins with https:// or http://."))
    if "@" in parts.netloc:
        raise _invalid(say("No user name or password here: they have fields of their own."))
    return parts


def _check_host(host: str) -> tuple[str, bool]:
    """Return the normalised host, and whether it is a loopback or private address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _check_host_name(host)
    is_private = any(address in network for network in _PRIVATE_NETWORKS)
    return (
        f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
    ), is_private


def _check_host_name(host: str) -> tuple[str, bool]:
    try:
        name = host.encode("idna").decode("ascii").lower() if not host.isascii() else host
    except UnicodeError as error:
        raise _not_understood() from error
    # A last label of digits alone is a mistyped IPv4 address.
    if not _HOST_NAME.fullmatch(name) or name.rsplit(".", 1)[-1].isdigit():
        raise _not_understood()
    return name, name == "localhost" or name.endswith(".localhost")


def _port(parts: SplitResult) -> str:
    try:
        port = parts.port
    except ValueError as error:
        raise _not_understood() from error
    if port == 0 or parts.netloc.endswith(":"):
        raise _not_understood()
    return "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"


def _not_understood() -> Invalid:
    return _invalid(say("This is no URL or address, such as https://central.example.org."))


def _invalid(reason: Message) -> Invalid:
    return Invalid({"url": reason})
