"""Which language a sentence is shown in: English stands in the code, catalogues hold the others."""

from flask import Flask, g, request
from flask_babel import Babel, get_locale, gettext

from panel.i18n import Message
from panel.models.base import Person
from panel.paths import TRANSLATIONS

# By the names that their readers know them by, which are the same whoever reads.
LANGUAGES = {
    "en": "English",
    "fr": "Français",
    "pt": "Português",
    "es": "Español",
    "ar": "العربية",
}
COOKIE = "l"
# Dates with the day first, and written as in Mozambique and Angola rather than in Brazil; digits
# everywhere as the fields take them.
_TAGS = {"en": "en-GB", "pt": "pt-PT", "ar": "ar-u-nu-latn"}


def init_language(app: Flask) -> None:
    """Give templates ``_()``, ``{% trans %}``, the filter ``show`` and what ``<html>`` needs."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)
    Babel(app, locale_selector=lambda: tag().split("-u-")[0].replace("-", "_"))
    app.jinja_env.filters["show"] = show
    app.jinja_env.globals.update(languages=LANGUAGES, language=language, tag=tag, is_rtl=is_rtl)


def language() -> str:
    """Return the reader's language: what they chose once, or the best that their browser asks for.

    A person's own choice goes before that of the browser they happen to use.
    """
    person: Person | None = g.get("person")
    for chosen in (person and person.language, request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    # Kept in the order of their q: French of any country is French, and goes before the next.
    asked = (value.lower().partition("-")[0] for value, q in request.accept_languages if q)
    return next((one for one in asked if one in LANGUAGES), "en")


def tag() -> str:
    """Return the language as the browser is told it, for its own words, digits and dates."""
    spoken = language()
    return _TAGS.get(spoken, spoken)


def is_rtl() -> bool:
    """Say whether the language is written from right to left."""
    return str(get_locale().text_direction) == "rtl"


def show(message: Message) -> str:
    """Return ``message`` in the language of this request, and what it holds too."""
    values = {name: _shown(value) for name, value in message.values.items()}
    return str(gettext(message.text, **values))


def _shown(value: object) -> object:
    return show(value) if isinstance(value, Message) else value
