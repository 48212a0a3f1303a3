"""The language of a request: translations, and its formats of times and sizes."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import cast

from babel import Locale
from babel.dates import format_date, format_skeleton, get_datetime_format
from babel.numbers import format_decimal
from babel.support import NullTranslations
from babel.units import format_unit
from flask import Flask, g, request
from flask_babel import Babel, get_domain, get_locale
from markupsafe import Markup, escape

from panel.i18n import Count, Message, Moment, reveal, say, visible
from panel.models.people import Person
from panel.paths import TRANSLATIONS
from panel.preferences.parameter_table import INTERVAL, PARAMETERS, in_brief, shown_parts

# Each language's own name for itself.
LANGUAGES = {
    "en": "English",
    "fr": "Français",
    "pt": "Português",
    "es": "Español",
    "ar": "العربية",
}
COOKIE = "l"
# Day before month; Portuguese as in Mozambique and Angola rather than in Brazil; Latin digits in
# Arabic too, since the form fields take only those.
_TAGS = {"en": "en-GB", "pt": "pt-PT", "ar": "ar-u-nu-latn"}
# Sizes have no decimals from so many of their unit on.
_WHOLE_FROM = 10
# Labels of what is not a parameter, for Activity and for what two servers disagree about.
_LABELS = {
    "hardware_id": say("Hardware ID"),
    "primary_name": say("Name of the primary"),
    "primary_store": say("Store of the primary"),
    "view": say("view"),
    "edit": say("edit preferences"),
    "manage": say("manage people"),
    "code": say("Reason"),
    "rows": say("Rows"),
    "until": say("Until"),
    # By which way somebody came, where no address says it.
    "web": say("browser"),
    "shell": say("command line"),
    "proxy": say("intranet"),
    "sync": say("sync"),
}


def init_language(app: Flask) -> None:
    """Give templates ``_()``, ``{% trans %}``, ``show``, labels, and what ``<html>`` needs.

    ``names()`` returns the labels; ``parameters``, ``parts()`` and ``in_brief()`` are the table.
    """
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)
    Babel(app, locale_selector=lambda: tag().split("-u-")[0].replace("-", "_"))
    app.jinja_env.filters["show"] = show
    app.jinja_env.globals.update(_=translated, gettext=translated)
    app.jinja_env.globals.update(languages=LANGUAGES, language=language, tag=tag, is_rtl=is_rtl)
    app.jinja_env.globals.update(names=names, parameters=PARAMETERS)
    app.jinja_env.globals.update(parts=shown_parts, in_brief=in_brief)


def language() -> str:
    """Return the code of the reader's language.

    The person's choice goes before the browser's cookie, and that before Accept-Language.
    """
    person: Person | None = g.get("person")
    for chosen in (person and person.language, request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    # Sorted by their q. The country is ignored: fr-CA is French.
    asked = (value.lower().partition("-")[0] for value, q in request.accept_languages if q)
    return next((one for one in asked if one in LANGUAGES), "en")


def tag() -> str:
    """Return the language tag (BCP 47) for the browser's own words, digits and dates."""
    spoken = language()
    return _TAGS.get(spoken, spoken)


def is_rtl() -> bool:
    """Say whether the language is written from right to left."""
    return str(get_locale().text_direction) == "rtl"


def show(message: Message) -> str:
    """Return ``message`` and the messages in its values, in the language of this request.

    With a moment in it, it is markup, and all else in it is escaped.
    """
    if message.plural and isinstance(num := message.values["num"], int):
        text = str(_catalogue().ungettext(message.text, message.plural, num))
    else:
        text = str(_sentence(_catalogue(), message.text))
    values = {name: _shown(value) for name, value in message.values.items()}
    if any(isinstance(value, Markup) for value in values.values()):
        return Markup(text) % values  # noqa: S704 - ours, not a reader's
    return str(text % values if values else text)


def init_formats(app: Flask) -> None:
    """Give templates ``moment()``, ``hardware()``, ``in_fours()``, and filters of numbers."""
    app.jinja_env.globals.update(moment=moment, hardware=hardware, in_fours=in_fours)
    app.jinja_env.filters["byte_count"] = byte_count
    app.jinja_env.filters["numberformat"] = lambda number: _digits(number, get_locale())


# Cached, as Babel is slow: a page counts the same few things each time.
@lru_cache(maxsize=1_000)
def _digits(number: int, locale: Locale) -> str:
    return str(format_decimal(number, locale=locale))


def byte_count(count: int) -> str:
    """Return ``count`` bytes, rounded for people: ``0.4 kB``, ``12 MB``."""
    in_kilobytes = count < _WHOLE_FROM * 1e6
    unit, number = ("kilobyte", count / 1e3) if in_kilobytes else ("megabyte", count / 1e6)
    digits = "0.#" if number < _WHOLE_FROM else "#,##0"
    return format_unit(number, unit, "short", digits, locale=get_locale())


def _shown(value: object) -> object:
    if isinstance(value, Message):
        return show(value)
    if isinstance(value, Moment):
        return moment(value.at, value.form)
    if isinstance(value, Count):
        return format_decimal(int(value), locale=get_locale())
    return visible(value)


def names() -> Mapping[str, str]:
    """Return every label by its name, in the language of this request."""
    return _names_in(_catalogue())


@lru_cache(maxsize=len(LANGUAGES))
def _names_in(_language: NullTranslations) -> Mapping[str, str]:
    labels = {one.name: one.label for one in (INTERVAL, *PARAMETERS.values())}
    return MappingProxyType({name: show(label) for name, label in (labels | _LABELS).items()})


# The catalogues of a few languages, some hundred sentences each: a page asks for eighty of them.
@lru_cache(maxsize=5_000)
def _sentence(catalogue: NullTranslations, text: str) -> Markup:
    return Markup(catalogue.ugettext(text))  # noqa: S704 - ours, not a reader's


def translated(text: str, **values: object) -> Markup:
    """Return a sentence of a template in the reader's language; ``values`` are escaped in it."""
    shown = {name: visible(value) for name, value in values.items()}
    return _sentence(_catalogue(), text) % shown


def _catalogue() -> NullTranslations:
    """Return the sentences of this request's language."""
    known: NullTranslations | None = g.get("catalogue")
    if known is None:
        known = g.catalogue = cast(NullTranslations, get_domain().get_translations())
    return known


def moment(at: datetime, form: str = "", *, brief: bool = False, attributes: str = "") -> Markup:
    """Return a moment in UTC, in whose place script puts "3 min ago".

    As "full" it stays day and time, as "clock" the time of day alone, as "day" the date alone, as
    "weekday" the day of the week.
    Where only script reads it, ``brief`` leaves the writing to it. ``attributes`` are the
    template's own, of its element.
    """
    words = "" if brief else _written(at.replace(second=0, microsecond=0), form, get_locale())
    kind = f' class="{form}"' if form else ""
    # Not Markup.format, which takes five times as long: a list asks for one in each row.
    return Markup(f"<time{kind}{attributes} datetime={at:%Y-%m-%dT%H:%MZ}>{escape(words)}</time>")  # noqa: S704


# Cached: a list shows the same times repeatedly, and Babel is slow.
@lru_cache(maxsize=1_000)
def _written(at: datetime, form: str, locale: Locale) -> str:
    if form == "weekday":
        return str(format_date(at, "EEEE", locale=locale))
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
        return escape(reveal(identity or "—"))
    # Among letters that run from right to left its end stays at its end.
    mark = Markup("&lrm;") if is_rtl() else ""
    return Markup("<abbr>{}…{}</abbr>").format(reveal(identity[:_COMPARED_LETTERS]), mark)


def in_fours(identity: str) -> Markup:
    """Return all of a Hardware ID, in groups of four that no line breaks."""
    groups = (reveal(identity[at : at + 4]) for at in range(0, len(identity), 4))
    return Markup("<bdi dir=ltr>{}</bdi>").format(
        Markup(" ").join(Markup("<abbr>{}</abbr>").format(group) for group in groups)
    )


_COMPARED_LETTERS = 8
