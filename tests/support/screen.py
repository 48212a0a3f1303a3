"""A person at the screen of a real server: signed in, without scripting."""

import html
import re
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from tests.support.cast import PASSWORD, USER

TIMEOUT_SECONDS = 60


class Screen:
    """The pages of one server, as the words that are on them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._jar = CookieJar()
        self._browser: OpenerDirector = build_opener(HTTPCookieProcessor(self._jar))
        form = self._open("/sign-in")
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
        entered = {**hidden, "name": USER, "password": PASSWORD}
        self._open("/sign-in", urlencode(entered).encode())

    @property
    def cookies(self) -> str:
        """The header by which the server knows this person."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def csrf_token(self) -> str:
        """Return what a form has to carry."""
        found = re.search(r'"X-CSRF":"([^"]+)"', html.unescape(self._open("/")))
        assert found
        return found[1]

    def words(self, path: str = "/") -> str:
        """Return what a page says, without its mark-up."""
        page = self._open(path)
        page = re.sub(r"<(script|style|template|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())

    def _open(self, path: str, body: bytes | None = None) -> str:
        with self._browser.open(self._url + path, body, timeout=TIMEOUT_SECONDS) as answer:
            return str(answer.read().decode())
