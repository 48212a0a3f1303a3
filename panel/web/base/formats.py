"""Moments and amounts as the reader of this request writes them."""

from datetime import datetime
from functools import lru_cache

from babel import Locale
from babel.dates import format_skeleton, get_datetime_format
from babel.units import format_unit
from flask import Flask
from flask_babel import get_locale


def init_formats(app: Flask) -> None:
    """Give templates the filters ``written``, ``clock`` and ``amount``."""
    app.jinja_env.filters.update(written=written, clock=clock, amount=amount)


def written(at: datetime) -> str:
    """Return a moment in UTC: day and time of day, to the minute."""
    return _written(at, get_locale())


def clock(at: datetime) -> str:
    """Return the time of day in UTC, to the minute."""
    return format_skeleton("Hm", at, locale=get_locale())


def amount(count: int) -> str:
    """Return so many bytes, rounded as people read them: ``0.4 kB``, ``12 MB``."""
    unit, number = ("kilobyte", count / 1e3) if count < 10e6 else ("megabyte", count / 1e6)
    digits = "0.#" if number < 10 else "#,##0"
    return format_unit(number, unit, "short", digits, locale=get_locale())


# A list shows the same moments again and again, and Babel takes its time.
@lru_cache(maxsize=1_000)
def _written(at: datetime, locale: Locale) -> str:
    day = format_skeleton("yMMMd", at, locale=locale)
    time = format_skeleton("Hm", at, locale=locale)
    return str(get_datetime_format("medium", locale=locale)).format(time, day)
