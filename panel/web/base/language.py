"""Which language a sentence is shown in: English stands in the code, catalogues hold the others."""

from datetime import datetime
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_skeleton, get_datetime_format
from babel.support import NullTranslations
from babel.units import format_unit
from flask import Flask, g, request
from flask_babel import Babel, get_domain, get_locale, gettext
from markupsafe import Markup, escape

from panel.i18n import Message
from panel.models.people import Person
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
    app.jinja_env.globals.update(_=translated, gettext=translated)
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


# The catalogues of a few languages, some hundred sentences each: a page asks for eighty of them.
@lru_cache(maxsize=5_000)
def _sentence(catalogue: NullTranslations, text: str) -> Markup:
    return Markup(catalogue.ugettext(text))  # noqa: S704 - ours, not a reader's


def translated(text: str, **values: object) -> Markup:
    """Return a sentence of a template in the reader's language; ``values`` are escaped in it."""
    if "catalogue" not in g:
        g.catalogue = get_domain().get_translations()
    return _sentence(g.catalogue, text) % values


def init_formats(app: Flask) -> None:
    """Give templates ``moment()``, ``hardware()`` and the filter ``amount``."""
    app.jinja_env.globals.update(moment=moment, hardware=hardware)
    app.jinja_env.filters["amount"] = amount


def moment(at: datetime, form: str = "", *, brief: bool = False) -> Markup:
    """Return a moment in UTC, in whose place script puts "3 min ago".

    As "full" it stays day and time, as "clock" the time of day alone, as "day" the date alone.
    Where only script reads it, ``brief`` leaves the writing to it.
    """
    words = "" if brief else _written(at.replace(second=0, microsecond=0), form, get_locale())
    kind = f' class="{form}"' if form else ""
    # Not Markup.format, which takes five times as long: a list asks for one in each row.
    return Markup(f"<time{kind} datetime={at:%Y-%m-%dT%H:%MZ}>{escape(words)}</time>")  # noqa: S704


# A list shows the same moments again and again, and Babel takes its time.
@lru_cache(maxsize=1_000)
def _written(at: datetime, form: str, locale: Locale) -> str:
    if form == "day":
        return str(format_date(at, "long", locale=locale))
    time = str(format_skeleton("Hm", at, locale=locale))
    if form == "clock":
        return time
    day = format_skeleton("yMMMd", at, locale=locale)
    return str(get_datetime_format("medium", locale=locale)).format(time, day)


def hardware(identity: str | None) -> Markup:
    """Return a Hardware ID short enough to compare by eye; all of it where it is short."""
    if not identity or len(identity) <= _COMPARED_LETTERS:
        return escape(identity or "—")
    # Among letters that run from right to left its end stays at its end.
    mark = Markup("&lrm;") if is_rtl() else ""
    return Markup("<abbr>{}…{}</abbr>").format(identity[:_COMPARED_LETTERS], mark)


_COMPARED_LETTERS = 8


def amount(count: int) -> str:
    """Return so many bytes, rounded as people read them: ``0.4 kB``, ``12 MB``."""
    unit, number = ("kilobyte", count / 1e3) if count < 10e6 else ("megabyte", count / 1e6)
    digits = "0.#" if number < 10 else "#,##0"
    return format_unit(number, unit, "short", digits, locale=get_locale())
