"""A set-up as text: fifteen characters to read out, a file, and a link that says the same.

The characters are a number in the digits of Crockford's Base32, which has no letter that looks like
a digit. It is random but for its end, which makes it divisible by a prime: so one wrong character,
or two that changed places, is noticed before anything is sent.
"""

import base64
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import (
    FINGERPRINT_LENGTH,
    HIGHEST_SYNC_ID,
    NAME_LENGTH,
    PEM_LENGTH,
    PRIMARY_SYNC_ID,
    STORE_LENGTH,
    URL_LENGTH,
)
from panel.models.settings import SyncProtocol
from panel.preferences.field_checks import check_url
from panel.sync.protocol.json_reader import BadMessage, JsonObject, dump_json, load_json

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE = len(_DIGITS)
CODE_LENGTH = 15
# The last two digits are for the check, whose prime is the largest that they can count up to. The
# other 13 are random: 65 bits.
_CHECK_PRIME, _CHECK_VALUES = 1_021, _BASE**2
_RANDOM_VALUES = _BASE ** (CODE_LENGTH - 2)
# How many are read out in one go.
_GROUP_LENGTH = 5
_LOOK_ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1"})
_SEPARATORS = re.compile(r"[\s\-‐-―−_.]+")

VERSION = 1
LINK_SCHEME = "sync-panel:"
# In bytes, far above those of any set-up with the certificates of an authority.
LARGEST_FILE_BYTES = 64 * 1024
_MOMENT_LENGTH, _HIGHEST_VERSION = 40, 1_000_000


def new_code() -> str:
    """Return new characters that nobody can guess."""
    random = secrets.randbelow(_RANDOM_VALUES) * _CHECK_VALUES
    number = random + -random % _CHECK_PRIME
    digits = [_DIGITS[number // _BASE**place % _BASE] for place in range(CODE_LENGTH)]
    return "".join(reversed(digits))


def read_code(typed: str) -> str:
    """Return the characters that were ``typed``, whatever their case, spaces and dashes.

    Raise :class:`Invalid` (field ``text``) with what is wrong with them.
    """
    code = _SEPARATORS.sub("", typed.upper()).translate(_LOOK_ALIKE)
    if unknown := next((one for one in code if one not in _DIGITS), ""):
        raise _invalid(say("“%(character)s” is in no set-up.", character=unknown))
    if len(code) != CODE_LENGTH:
        reason = say(
            "A set-up has %(length)s characters, and these are %(count)s.",
            length=CODE_LENGTH,
            count=len(code),
        )
        raise _invalid(reason)
    number = sum(_DIGITS.index(digit) * _BASE**place for place, digit in enumerate(code[::-1]))
    if number % _CHECK_PRIME or number % _CHECK_VALUES >= _CHECK_PRIME:
        raise _invalid(say("One of the characters is wrong: compare them again."))
    return code


def grouped(code: str) -> str:
    """Return ``code`` as it is read out: in groups of five."""
    starts = range(0, CODE_LENGTH, _GROUP_LENGTH)
    return "-".join(code[start : start + _GROUP_LENGTH] for start in starts)


@dataclass(frozen=True)
class Setup:
    """What a satellite joins its primary with; from typed characters only ``url`` and ``code``.

    ``fingerprint`` and ``private_ca`` are as in the parameters; empty for a public authority.
    """

    url: str
    code: str
    sync_id: int | None = None
    name: str = ""
    store: str = ""
    primary_name: str = ""
    primary_store: str = ""
    protocol: SyncProtocol = SyncProtocol.OWN
    fingerprint: str = ""
    private_ca: str = ""
    ends_at: datetime | None = None

    def as_file(self) -> str:
        """Return the text of the file."""
        members = {"sync_panel_setup": VERSION, **self._members()}
        return dump_json(members, ascii_only=True) + "\n"

    def as_link(self) -> str:
        """Return the same as a link, which a picture can hold as well."""
        packed = zlib.compress(self.as_file().encode(), 9)
        return LINK_SCHEME + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def _members(self) -> dict[str, Any]:
        given = {name: value for name, value in vars(self).items() if value}
        return {**given, "ends_at": self.ends_at.isoformat()} if self.ends_at else given

    @classmethod
    def from_file(cls, text: str) -> Self:
        """Return the set-up in the text of a file. Raise :class:`Invalid` (field ``text``)."""
        try:
            members = JsonObject(load_json(text))
            version = members.whole("sync_panel_setup", 1, _HIGHEST_VERSION)
            if version > VERSION:
                raise _invalid(say("It is of a newer version. Bring this server up to date."))
            ends_at = members.text("ends_at", _MOMENT_LENGTH, "")
            return cls(
                url=_read_url(members.text("url", URL_LENGTH)),
                code=read_code(members.text("code", CODE_LENGTH)),
                sync_id=members.whole("sync_id", PRIMARY_SYNC_ID + 1, HIGHEST_SYNC_ID),
                name=members.text("name", NAME_LENGTH),
                store=members.text("store", STORE_LENGTH),
                primary_name=members.text("primary_name", NAME_LENGTH),
                primary_store=members.text("primary_store", STORE_LENGTH),
                protocol=SyncProtocol(members.text("protocol", 8)),
                fingerprint=members.text("fingerprint", FINGERPRINT_LENGTH, ""),
                private_ca=_read_pem(members.get("private_ca")),
                ends_at=datetime.fromisoformat(ends_at) if ends_at else None,
            )
        except (BadMessage, ValueError, RecursionError) as error:
            raise _invalid(_NO_SETUP) from error


_NO_SETUP = say("This is no set-up, or not all of it: take the file as the primary gave it.")


def read_setup(text: str, url: str = "") -> Setup:
    """Return the set-up that ``text`` is: that of a file, a link, or characters with their ``url``.

    Raise :class:`Invalid` (fields ``text``, ``url``).
    """
    text = text.strip()
    if not text:
        raise _invalid(say("Choose the file, or type the characters."))
    if text.startswith("{"):
        return Setup.from_file(text)
    if text.lower().startswith(LINK_SCHEME):
        return Setup.from_file(_unpacked(text[len(LINK_SCHEME) :]))
    code = read_code(text)
    if not url.strip():
        raise Invalid({"url": say("The characters need the URL of the primary beside them.")})
    return Setup(url=_read_url(url), code=code)


def _unpacked(link: str) -> str:
    try:
        packed = base64.b64decode(link.encode() + b"==", altchars=b"-_")
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, LARGEST_FILE_BYTES)
        if not unpacker.eof:
            raise _invalid(_NO_SETUP)
        return content.decode()
    except (ValueError, zlib.error) as error:
        raise _invalid(_NO_SETUP) from error


def _read_url(text: str) -> str:
    url, _needs_warning = check_url(text)
    return url


def _read_pem(value: object) -> str:
    """Return the text of certificates, "" for None. Raise BadMessage."""
    # Other texts of a message may have no line ends.
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > PEM_LENGTH:
        raise BadMessage("private_ca: not a text")
    return value


def _invalid(reason: Message) -> Invalid:
    return Invalid({"text": reason})
