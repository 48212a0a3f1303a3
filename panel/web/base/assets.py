"""The built script and style, whose names hold hashes, and the templates' environment."""

import json
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any
from wsgiref.headers import Headers

from flask import Flask, request, templating
from jinja2 import StrictUndefined
from jinja2.ext import Extension
from jinja2.lexer import TOKEN_DATA, Token, TokenStream
from markupsafe import Markup
from whitenoise import WhiteNoise

from panel.i18n import visible
from panel.paths import BUILT, MANIFEST

PATH = "/static/"
# Of embed.js, whose name stays the same because pages of other sites hold it.
DAY_SECONDS = 24 * 3600
YEAR_SECONDS = 365 * DAY_SECONDS


@dataclass(frozen=True)
class Assets:
    """The script's file name, the style's text and the hash that allows it in the CSP."""

    script: str
    style: Markup
    style_hash: str


def read_assets() -> Assets:
    """Return the assets in the build's manifest. Raise RuntimeError if nothing was built."""
    if not MANIFEST.is_file():
        raise RuntimeError(f"{MANIFEST} is missing: run `make build` first.")
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    style = (BUILT / manifest["files"]["panel.css"]).read_text("utf-8")
    return Assets(
        script=manifest["files"]["app.js"],
        style=Markup(style),  # noqa: S704 - our own file, allowed in the page by its hash
        style_hash=manifest["csp"]["panel.css"],
    )


def init_static(app: Flask) -> None:
    """Serve the built files below /static/; give templates ``script_url()``."""
    assets = read_assets()
    app.extensions["assets"] = assets
    app.jinja_env.globals["script_url"] = lambda: f"{request.script_root}{PATH}{assets.script}"
    files = WhiteNoise(
        app.wsgi_app,
        allow_all_origins=False,
        max_age=DAY_SECONDS,
        add_headers_function=_add_headers,
        immutable_file_test=lambda _path, url: url == PATH + assets.script,
    )
    for path in BUILT.glob("*.js"):
        files.add_file_to_dictionary(PATH + path.name, str(path))
    app.wsgi_app = files  # type: ignore[method-assign]


def _add_headers(headers: Headers, _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    if "immutable" in (headers["Cache-Control"] or ""):
        # The shortest values that work: the page is UTF-8 already, and the name changes with the
        # content.
        headers["Content-Type"], headers["ETag"] = "text/javascript", '"1"'
        headers["Cache-Control"] = f"max-age={YEAR_SECONDS}, immutable"
        del headers["Last-Modified"]


class Environment(templating.Environment):
    """Flask's environment, whose templates keep their globals in a plain dict.

    Jinja compares and copies them for each import and include. It would do so in a ``ChainMap``,
    which took a third of the time of a page.
    """

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return the globals of one template."""
        return {**self.globals, **(d or {})}


class TightBlocks(Extension):
    """Leaves out line ends after the tags of blocks, which no browser shows."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield the tokens of a template without them."""
        for token in stream:
            yield (
                token._replace(value=_LINE_END.sub(r"\1", token.value))
                if (token.type == TOKEN_DATA)
                else token
            )


_BLOCKS = "section|div|table|thead|tbody|tr|td|th|ul|li|dl|dd|dt|p|main|header|head|body|html|h1|h2"
_LINE_END = re.compile(rf"(</?(?:{_BLOCKS}|meta|link|style|title)\b[^>]*>)\n")


def init_templates(app: Flask) -> None:
    """Set how templates are read. Before anything else asks ``app`` for its environment."""
    app.jinja_environment = Environment
    app.jinja_options = {
        # Indentation and newlines of control lines in templates are not sent.
        "trim_blocks": True,
        "lstrip_blocks": True,
        "undefined": StrictUndefined,
        # What others wrote is shown as what it is, wherever it stands.
        "finalize": visible,
        "extensions": [TightBlocks],
    }


def compile_templates(app: Flask) -> None:
    """Have every template ready before somebody asks for it."""
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)
