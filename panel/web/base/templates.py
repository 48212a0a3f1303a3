"""The templates' environment: strict about names, and the attributes that htmx reads."""

from collections.abc import MutableMapping
from typing import Any

from flask import Flask, templating
from jinja2 import StrictUndefined
from markupsafe import Markup, escape

_FOCUS, _OOB, _NONE = Markup(" autofocus"), Markup(' hx-swap-oob="true"'), Markup()


class Environment(templating.Environment):
    """Flask's environment, whose templates keep their globals in a plain dict.

    Jinja compares and copies them for each import and include. It would do so in a ``ChainMap``,
    which took a third of the time of a page.
    """

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return the globals of one template."""
        return {**self.globals, **(d or {})}


def init_templates(app: Flask) -> None:
    """Set how templates are read. Before anything else asks ``app`` for its environment."""
    app.jinja_environment = Environment
    # What only indents a template, and ends its lines of control, is not sent.
    app.jinja_options = {
        "trim_blocks": True,
        "lstrip_blocks": True,
        "undefined": StrictUndefined,
    }
    app.jinja_env.globals.update(
        post_to=post_to, get_from=get_from, oob_if=oob_if, focus_if=focus_if
    )


def compile_templates(app: Flask) -> None:
    """Have every template ready before somebody asks for it."""
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)


def post_to(url: str, target: str) -> Markup:
    """Return the attributes that say where a form goes, with script and without."""
    url, target = escape(url), escape(target)
    return Markup(f' method="post" action="{url}" hx-post="{url}" hx-target="{target}"')  # noqa: S704


def get_from(url: str, target: str) -> Markup:
    """Return the attributes of a link that swaps: the script asks for its href."""
    # Not Markup.format, which takes five times as long: a list asks for one in each row.
    return Markup(f' href="{escape(url)}" hx-get hx-target="{escape(target)}"')  # noqa: S704


def oob_if(oob: object) -> Markup:
    """Return the attribute of a part that finds its place by its id, if it is such a one."""
    return _OOB if oob else _NONE


def focus_if(yes: object) -> Markup:
    """Return the attribute of what gets the focus."""
    return _FOCUS if yes else _NONE
