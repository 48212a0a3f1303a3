"""Messages, and how they are spoilt: in their values, their bytes, or what stands around them."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import brotli

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
_LONG, _DEEP = 20_000, 2_000
ODD_TEXTS = (
    *("", " ", "\0", "\ufeff", "\u202e", "\U0001f600", "a" * _LONG, "é" * 300, "\r\nX: y"),
    *("-1", "0", "1", "7", "²", "٣", "1_000", "+5", "0x10", "1e999", " 7 ", "NaN", str(2**63)),
    *("9" * 5_000, "0001-01-01", "9999-12-31", "2026-02-30", "2026-11-23T09:00:00", "%00", "%"),
    *("../../etc/passwd", "'; DROP TABLE record; --", "<script>", "{{7*7}}", "=1+1", "%(name)s"),
    *("http://[::1", "http://127.0.0.1:99999", "ftp://x", "javascript:x", "http://a..b", "//x"),
    *("-----BEGIN CERTIFICATE-----", "null", "true", "[]", "{", '"', "\\", "\x7f", "a\u0300"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), [], {}, [[]], {"": {}}, [None] * 100, "\ud800"),
)
ODD_HEADERS = (
    *("Authorization", "Content-Encoding", "Content-Type", "Accept", "Accept-Encoding", "Host"),
    *("Accept-Language", "Cookie", "HX-Request", "HX-Target", "HX-Current-URL", "If-None-Match"),
    *("version", "app-name", "app-version", "msupply-site-uuid", "X-Forwarded-For", "Range"),
    *("X-Forwarded-Proto", "Origin", "Referer", "Sec-Fetch-Site", "X-CSRF", "Transfer-Encoding"),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")


@dataclass(frozen=True)
class Message:
    """A request as its sender makes it; ``query`` without the question mark."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the value of a header, "" if it is not there."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), "")

    def with_header(self, name: str, value: str) -> "Message":
        """Return the message with that header alone of its name."""
        others = [one for one in self.headers if one[0].lower() != name.lower()]
        return replace(self, headers=(*others, (name, value)))

    def curl(self) -> str:
        """Return the message in one line, its body as Python writes bytes."""
        return f"{self.method} {self.path}?{self.query} {dict(self.headers)} {self.body[:3_000]!r}"


class Spoiler:
    """Spoils messages, the same ones in the same way for the same ``chance``."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def spoil(self, message: Message) -> Message:
        """Return ``message`` with something wrong about it, or with several things."""
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            message = self._chance.choice(self._ways(message))(message)
        return message

    def _ways(self, message: Message) -> list[Callable[[Message], Message]]:
        """Return what can be done to ``message``: most often to the values of its body."""
        if self._chance.random() < 0.02:
            return [self._spoil_method]
        ways: list[Callable[[Message], Message]] = [
            self._spoil_header,
            self._spoil_path,
            self._spoil_query,
        ]
        if message.query:
            ways += [self._spoil_query] * 4
        if message.body:
            ways += [self._spoil_values] * 12 + [self._spoil_bytes] * 2
        return ways

    def _spoil_values(self, message: Message) -> Message:
        if message.header("Content-Type") == FORM:
            pairs = self._pairs(
                parse_qsl(message.body.decode(errors="replace"), keep_blank_values=True)
            )
            return replace(message, body=_urlencode(pairs))
        try:
            value = json.loads(_unpacked(message))
        except (ValueError, RecursionError, OSError, brotli.error):
            return self._spoil_bytes(message)
        text = json.dumps(self._json(value), ensure_ascii=self._chance.random() < 0.5)
        if self._chance.random() < 0.01:
            text = text.replace("null", "[" * _DEEP + "]" * _DEEP, 1)
        return _packed(message, text.encode(errors="surrogatepass"))

    def _json(self, value: Any) -> Any:
        """Return ``value`` with one place of it changed."""
        value = [deepcopy(value)]
        places = list(_places(value))
        # Deep ones are most of them; the shallow ones decide more.
        places.sort(key=lambda place: place[2])
        holder, key, _ = places[int(len(places) * self._chance.random() ** 2)]
        old = holder[key]
        match self._chance.randrange(8):
            case 0 | 1:
                holder[key] = self._chance.choice(ODD_VALUES)
            case 2:
                holder[key] = self._chance.choice(ODD_TEXTS)
            case 3 if holder is not value:
                del holder[key]
            case 4:
                other = self._chance.choice(places)
                holder[key] = deepcopy(other[0][other[1]])
            case 5:
                holder[key] = self._chance.choice(([old], {"a": old}, [old, old], str(old)[:200]))
            case 6 if isinstance(holder, list):
                holder.insert(self._chance.randrange(len(holder) + 1), deepcopy(old))
            case _:
                holder[key] = self._nearly(old)
        return value[0]

    def _nearly(self, value: Any) -> Any:
        """Return a value that is almost right."""
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return value + self._chance.choice((1, -1, 1_000))
        if isinstance(value, str):
            at = self._chance.randrange(len(value) + 1)
            return value[:at] + self._chance.choice(ODD_TEXTS)[:50] + value[at:]
        return value

    def _pairs(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the fields of a form or of a query with one of them changed."""
        pairs = list(pairs) or [("a", "b")]
        at = self._chance.randrange(len(pairs))
        name, value = pairs[at]
        match self._chance.randrange(6):
            case 0 | 1 | 2:
                pairs[at] = name, self._chance.choice(ODD_TEXTS)
            case 3:
                del pairs[at]
            case 4:
                pairs.append((name, self._chance.choice((value, *ODD_TEXTS))))
            case _:
                pairs[at] = name, str(self._nearly(value))
        return pairs

    def _spoil_query(self, message: Message) -> Message:
        pairs = self._pairs(parse_qsl(message.query, keep_blank_values=True))
        return replace(message, query=_urlencode(pairs).decode())

    def _spoil_path(self, message: Message) -> Message:
        parts = message.path.split("/")
        at = self._chance.randrange(1, len(parts))
        text = self._chance.choice((*ODD_TEXTS, f"{parts[at]}x", parts[at][:-1]))[:2_000]
        parts[at] = quote(text, safe="" if self._chance.random() < 0.5 else "%/")
        return replace(message, path="/".join(parts))

    def _spoil_bytes(self, message: Message) -> Message:
        body = bytearray(message.body) or bytearray(b"x")
        at = self._chance.randrange(len(body))
        match self._chance.randrange(4):
            case 0:
                body[at] = self._chance.randrange(256)
            case 1:
                del body[at:]
            case 2:
                body[at:at] = body[: self._chance.randrange(len(body) + 1)]
            case _:
                body[at:at] = self._chance.randbytes(8)
        return replace(message, body=bytes(body))

    def _spoil_header(self, message: Message) -> Message:
        names = (*(name for name, _ in message.headers), *ODD_HEADERS)
        name = self._chance.choice(names)
        old = message.header(name)
        texts = (
            *ODD_TEXTS,
            "gzip",
            "br",
            "Basic eDp5",
            "Basic é",
            "Bearer 7.x",
            f"{old}x",
            old[:-3],
        )
        # A header ends with its line, and is of bytes that clients and WSGI take for Latin-1.
        text = self._chance.choice(texts)[:2_000].replace("\r", " ").replace("\n", " ")
        return message.with_header(name, text.encode().decode("latin-1"))

    def _spoil_method(self, message: Message) -> Message:
        return replace(message, method=self._chance.choice(METHODS))


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any, int]]:
    """Yield every place in a JSON value: its holder, its key there, and how deep it lies."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key, depth
        if isinstance(value[key], list | dict):
            yield from _places(value[key], depth + 1)


def _urlencode(pairs: list[tuple[str, str]]) -> bytes:
    return urlencode(pairs, errors="surrogatepass").encode()


def _unpacked(message: Message) -> bytes:
    match message.header("Content-Encoding"):
        case "gzip":
            return gzip.decompress(message.body)
        case "br":
            plain: bytes = brotli.decompress(message.body)
            return plain
    return message.body


def _packed(message: Message, plain: bytes) -> Message:
    match message.header("Content-Encoding"):
        case "gzip":
            plain = gzip.compress(plain, 1)
        case "br":
            plain = brotli.compress(plain, quality=1)
    return replace(message, body=plain)
