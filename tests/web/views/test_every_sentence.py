"""No sentence is outside the catalogues: each page and state is drawn in a language of brackets."""

from itertools import count

import flask_babel
import pytest

from panel.config import Config
from panel.db import Database, make_engine
from panel.installation import Installation
from panel.setups import issued
from panel.web.app import create_app
from panel.web.base.language import LANGUAGES
from tests.conftest import NewDatabase
from tests.support.brackets import Brackets, words_outside
from tests.support.cast import MANAGER, VIEWER
from tests.support.clock import Clock
from tests.support.every_state import STATES, Site, setting_up
from tests.web.auth.test_access import FOR_PROGRAMS
from tests.web.conftest import add_people

# What tests and people wrote, and what is written alike in every language.
DATA = f"""
{MANAGER} {VIEWER} bela nobody operator {" ".join(LANGUAGES.values())}
National Store NAT Kadavu KDV Rotuma ROT Lau LAU Savu SAV fiji lau coral ask own UTC kB MB Werkzeug
people ab stock_line amoxicillin Panel Sync nowhere zzz ftp abc app cdef CSV
"""
# Programs read these, and the one other is a file.
NOT_FOR_PEOPLE = {*FOR_PROGRAMS, "activity.download", "servers.download", "server.health"}


def test_every_page_is_in_the_readers_language(
    monkeypatch: pytest.MonkeyPatch,
    new_sqlite: NewDatabase,
    config: Config,
    time: Clock,
    nowhere: str,
) -> None:
    monkeypatch.setattr(flask_babel.Domain, "get_translations", lambda _self: Brackets())
    # Of digits alone, which are in no language.
    monkeypatch.setattr(issued, "new_code", map("{:015}".format, count()).__next__)
    visited: set[str] = set()
    for state in STATES:
        database = Database(make_engine(new_sqlite(True)))
        if state is not setting_up:
            add_people(database)
        site = Site(create_app(Installation.on(config, database)), database, config, time, nowhere)
        state(site)
        database.close()
        outside = [
            (where, words) for where, page in site.pages if (words := words_outside(page, DATA))
        ]
        assert outside == []
        visited |= site.endpoints
    everywhere = {rule.endpoint for rule in site.app.url_map.iter_rules()}
    assert everywhere - visited - NOT_FOR_PEOPLE == set()
