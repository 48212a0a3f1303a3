"""Which language a sentence is shown in. The panel speaks English; catalogues add others."""

from flask import Flask
from flask_babel import Babel, gettext

from panel.places import TRANSLATIONS
from panel.words import Message


def init_language(app: Flask) -> None:
    """Give templates ``_()``, ``{% trans %}`` and the filter ``show``."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)
    app.config["BABEL_DEFAULT_LOCALE"] = "en_GB"
    Babel(app)
    app.jinja_env.filters["show"] = show


def show(message: Message) -> str:
    """Return ``message`` in the language of this request, and what it holds too."""
    values = {name: _shown(value) for name, value in message.values.items()}
    return str(gettext(message.text, **values))


def _shown(value: object) -> object:
    return show(value) if isinstance(value, Message) else value
