"""Every page and every state of it, for a test that reads them all."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from flask import Flask, request
from werkzeug.test import TestResponse

from panel.accounts import authorisation_code
from panel.accounts.tokens import make_status_key
from panel.config import Config
from panel.db import Database
from panel.models.records import Quarantined
from panel.models.runs import Applicant, InitialiseState, Link, Loop, Peer, Run, RunStep
from panel.models.settings import Server
from panel.preferences.interval import set_interval
from panel.web.base.context import installation_of
from tests.support.cast import CODE, MANAGER, OPERATOR, PASSWORD, VIEWER
from tests.support.clock import Clock
from tests.support.web_sites import URL, make_primary, make_satellite
from tests.web.conftest import Browser, signed_in

# An address, and the form that is sent there; None to get it.
Visit = tuple[str, dict[str, Any] | None]

STEPS = tuple(RunStep)


@dataclass
class Site:
    """An application of its own, and who comes to it."""

    app: Flask
    database: Database
    config: Config
    time: Clock
    # A URL where nobody listens.
    nowhere: str
    # What was read, and where.
    pages: list[tuple[Visit, str]] = field(default_factory=list)
    endpoints: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.app.before_request(lambda: self.endpoints.add(str(request.endpoint)))

    def read(self, *visits: Visit, by: Browser | None = None) -> None:
        """Go to each address, as htmx and as a plain browser does, and keep what comes."""
        browser = by or self.manager
        for path, form in visits:
            for htmx in (True, False):
                if form is None:
                    self.keep((path, form), browser.get(path, htmx=htmx))
                else:
                    self.keep((path, form), browser.post(path, form, htmx=htmx))

    def keep(self, visit: Visit, response: TestResponse) -> None:
        """Keep an answer, if it is one that people read."""
        assert response.status_code < 500, visit
        if response.mimetype == "text/html" and response.status_code != 303:
            self.pages.append((visit, response.text))

    @cached_property
    def nobody(self) -> Browser:
        return Browser(self.app)

    @cached_property
    def manager(self) -> Browser:
        return signed_in(self.app, MANAGER)

    @cached_property
    def viewer(self) -> Browser:
        return signed_in(self.app, VIEWER)


def at(*paths: str) -> list[Visit]:
    return [(path, None) for path in paths]


def make_run(site: Site, **values: Any) -> None:
    with site.database.writing() as session:
        session.add(Run(**{"other": 7, "started_at": site.time(), **values}))


def set_aside(site: Site, source: int, **values: Any) -> None:
    row = {
        **{"source": source, "owner": source, "version": 4, "deleted": True, "to": None},
        **{"table_name": "stock_line", "record_id": "amoxicillin", "data": None, "tries": 2},
        **{"reason": "not_the_owner", "reason_values": {"owner": 9}},
        **{"first_at": site.time(), "last_at": site.time()},
    }
    with site.database.writing() as session:
        session.add(Quarantined(**row | values))


def signing_in(site: Site) -> None:
    site.read(*at("/", "/people", "/activity", "/unlock"), ("/interval", {}), by=site.viewer)
    site.read(("/unlock", {"authorisation_code": CODE}), ("/sign-out", {}), by=site.viewer)
    same = {"own_password": PASSWORD, "password": PASSWORD}
    site.read(("/account/password", {"own_password": "wrong", "password": "x"}), by=site.manager)
    site.read(("/account/password", same), ("/account", None), by=site.manager)
    site.read(("/account/sessions/99/end", {}), by=site.manager)
    wrong = {"name": MANAGER, "password": "wrong"}
    site.read(*at("/sign-in", "/language", "/nowhere", "/", "/interval"), by=site.nobody)
    site.read(
        *[("/sign-in", wrong)] * 3, ("/interval", {}), ("/set-up/abc", {"name": ""}), by=site.nobody
    )
    site.read(("/language", {"language": "zzz"}), ("/language", {"language": "fr"}), by=site.nobody)
    # Without the token of a page.
    site.keep(("/language", {}), site.nobody.client.post("/language"))


def setting_up(site: Site) -> None:
    path = f"/set-up/{installation_of(site.app).set_up_token}"
    site.read(
        ("/sign-in", None),
        (path, None),
        (path, {"name": "", "password": "abc", "code": ""}),
        by=site.nobody,
    )


def alone(site: Site) -> None:
    site.read(*at("/", "/unlock", "/bar", "/parameters", "/interval", "/runs", "/set-aside"))
    site.read(*at("/?first=primary", "/?first=satellite"))
    site.read(("/unlock", {"authorisation_code": "wrong"}), ("/interval", {"version": "1"}))
    bad = {"sync_id": "one", "name": "", "url": "ftp://x", "request_size": "3", "version": "1"}
    site.read(("/parameters", bad))
    site.manager.unlock()
    site.read(*at("/", "/parameters", "/servers/new"), ("/parameters", bad))
    site.read(("/parameters/password/remove", {}), ("/parameters/password/remove", None))
    site.read(("/servers", {"key": "abc", "sync_id": "7", "name": "Kadavu", "store": "KDV"}))
    site.read(("/lock", {}))
    site.read(
        ("/parameters/join", None),
        ("/parameters/join", {"text": "abc"}),
        ("/parameters/join", {"text": "KDV0107PAPAYA5P"}),
    )
    site.read(*[("/unlock", {"authorisation_code": "wrong"})] * 4)


def a_primary(site: Site) -> None:
    kadavu, rotuma = make_primary(site.database, site.config)
    with site.database.writing() as session:
        for number, days in ((kadavu, 2), (rotuma, 5)):
            server = session.get_one(Server, number)
            server.last_success_at = site.time() - timedelta(days=days)
            server.hardware_id = "9200000000000011"
        peer = {"app_name": "Sync Panel", "app_version": "0.1.0", "protocol": "own"}
        session.add(Peer(server_id=kadavu, site_uuid="u", **peer))
        session.add(
            Peer(
                **{"server_id": rotuma, "site_uuid": "v", "refusal": "identity_differs"},
                refusal_values={"differences": [["name", "Rotuma", "Lau"]]},
            )
        )
        session.add(
            Applicant(
                **{"sync_id": 31, "name": "Savu", "store": "SAV", "hardware_id": "11"},
                **{"address": "192.0.2.31", "first_at": site.time(), "last_at": site.time()},
            )
        )
    make_run(site, ended_at=site.time(), step="applying", result="well", set_aside=1)
    set_aside(site, kadavu)
    facts = [f"/servers/{one}/sync" for one in (kadavu, rotuma)]
    lists = (
        "/applicants",
        "/?state=late",
        "/?find=zzz",
        "/?sort=name&dir=down",
        "/runs",
        "/runs?server=7",
        "/set-aside?server=7",
    )
    site.read(*at("/", *lists, *facts), (f"/servers/{kadavu}", {"sync_id": "7"}))
    line = "/sync/status-line"
    site.read((line, None), (line, {}), (f"{line}/revoke", {}))
    site.manager.unlock()
    site.read((line, {}), (line, None), (f"{line}/revoke", {}), (f"{line}/revoke", {}))
    with site.database.writing() as session:
        path = f"/status/{make_status_key(session, OPERATOR)}/"
    site.read(*at(path, f"{path}status.json", f"{path}status.svg"), by=site.nobody)
    row = f"/servers/{kadavu}"
    site.read(*at("/", row, f"{row}/edit", "/servers/new", "/servers/none", "/servers/remove"))
    site.read(("/servers", {"key": "abc"}), (row, {"sync_id": "1", "user_name": "lau"}))
    own = {"sync_id": "7", "name": "Kadavu", "store": "KDV", "version": "1"}
    site.read((row, {**own, "url": "https://x.example.org"}))
    site.read((row, {**own, "user_name": "lau", "password": "coral"}), (row, own))
    for act in ("hardware/clear", "password/remove"):
        confirmed = {"confirmed": "1", "version": "1"}
        site.read((f"{row}/{act}", {}), (f"{row}/{act}", confirmed), (f"{row}/{act}", None))
    read_setups(site, f"/servers/{rotuma}")
    site.read((f"/servers/{rotuma}/theirs", {}), ("/applicants/31/add", {}))
    site.read(("/applicants", None))
    site.read(("/applicants/31/add", {"hardware_id": "11"}))
    site.read(("/applicants/99/add", {}), ("/servers/remove", {}))
    ids = {"ids": str(kadavu)}
    site.read(("/servers/remove", ids), ("/servers/remove", {**ids, "confirmed": "1"}))
    site.read(("/servers/undo", ids), ("/servers/undo", ids), (row, None))
    warned = {"sync_id": "9", "name": "Lau", "url": "https://x.example.org", "version": "1"}
    site.read(("/parameters", warned))


def read_setups(site: Site, row: str) -> None:
    target = {"url": "https://x.example.org"}
    site.read((f"{row}/setups", {"url": "abc d"}), (f"{row}/setups", target))
    page = site.manager.post(f"{row}/setups", target).text
    found = re.search('name="typed" value="([^"]*)"', page)
    assert found
    typed = {"typed": found[1]}
    for part in ("file", "picture"):
        site.read((f"{row}/setups/{part}", typed), (f"{row}/setups/{part}", {}))
    site.read(
        (f"{row}/sync", None), (f"{row}/setups/99/revoke", {}), (f"{row}/setups/1/revoke", {})
    )


def a_primary_with_urls(site: Site) -> None:
    kadavu, _rotuma = make_primary(site.database, site.config)
    with site.database.writing() as session:
        session.get_one(Server, kadavu).url = URL
    site.read(("/", None), (f"/servers/{kadavu}/url/clear", {}), ("/parameters/url/clear", {}))
    site.manager.unlock()
    site.read((f"/servers/{kadavu}/url/clear", {}), ("/parameters/url/clear", {}))


def a_satellite(site: Site) -> None:
    make_satellite(site.database, site.config, site.nowhere)
    site.read(*at("/", "/sync/run"), ("/sync/test", {}))
    for step in STEPS:
        make_run(site, other=1, step=step, ended_at=site.time(), result="refused")
    for result in ("failed", "paused", "cut_off"):
        make_run(site, other=1, ended_at=site.time(), result=result, reason="timed_out")
    set_aside(site, 7)
    set_aside(site, 1, left_out_at=site.time())
    set_aside(site, 2, data='{"1": 2}', deleted=False)
    site.read(*at("/", "/runs", "/set-aside", "/set-aside/1", "/set-aside/3"))
    site.read(("/set-aside", {"ids": "1", "act": "again"}), ("/set-aside", {"act": "leave-out"}))
    site.read(*((f"/set-aside/{aside}/again", {}) for aside in (1, 2, 99)))
    site.read(("/set-aside/1/leave-out", {}), ("/sync/initialise", {}), ("/sync/theirs", {}))
    site.manager.unlock()
    site.read(*at("/", "/sync/initialise"), ("/sync/test", {"sync_id": "one"}))
    site.read(("/sync/initialise", {}), ("/sync/initialise", {"confirmed": "1"}))
    site.read(("/sync/theirs", {}), ("/sync/now", {}), ("/sync/run", None))
    site.time.pass_by(minutes=1)
    site.read(*at("/", "/servers/new"))


def how_a_satellite_stands(site: Site) -> None:
    make_satellite(site.database, site.config, site.nowhere)
    with site.database.writing() as session:
        link = session.get_one(Link, 1)
        link.initialise, link.last_success_at = InitialiseState.DONE, site.time()
    for days in (0, 2, 2):
        site.time.pass_by(days=days)
        site.read(("/", None))
    with site.database.writing() as session:
        loop, link = session.get_one(Loop, 1), session.get_one(Link, 1)
        loop.refusal, loop.refused_at = "identity_differs", site.time()
        loop.refusal_values = {"differences": [["store", "KDV-01", "LAU-01"]]}
        link.last_attempt_at = site.time()
    site.read(("/", None))
    with site.database.writing() as session:
        set_interval(session, OPERATOR, 0, 1)
    site.read(("/", None), ("/interval", {"interval_minutes": "5", "version": "1"}))


def a_run_that_goes_on(site: Site) -> None:
    make_satellite(site.database, site.config, site.nowhere)
    with site.database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "here", site.time() + timedelta(minutes=1)
    for step in STEPS:
        counts = {"pulled": 1, "to_pull": 2, "pushed": 1, "to_push": 3}
        make_run(site, other=1, step=step, **counts)
        site.read(*at("/", "/sync/run", "/runs"))
    with site.database.writing() as session:
        session.get_one(Loop, 1).silent_since = site.time()
    site.read(*at("/", "/sync/run", "/sync/run?silent=1"), ("/sync/stop", {}), ("/", None))
    make_run(site, other=1, ended_at=site.time(), result="cut_off", reason="stopped_by_hand")
    site.read(*at("/runs"))


def people_and_what_they_did(site: Site) -> None:
    person = {"name": "bela", "password": PASSWORD, "permission": "view"}
    site.read(("/people", None), ("/people", {"name": ""}), ("/people", person))
    for act in ("permissions", "password", "disable", "disable", "enable"):
        site.read((f"/people/3/{act}", {"version": "1"}))
    site.read(("/people/3/password", {"password": PASSWORD}), ("/people/1/disable", {}))
    site.read(("/people/99/enable", {}))
    make_satellite(site.database, site.config, site.nowhere)
    with site.database.writing() as session:
        authorisation_code.end_unlocks(session, OPERATOR, 1)
    site.read(*at("/activity", "/activity?what=signed_in&begin=abc", "/activity?person=zzz"))


STATES = (
    signing_in,
    setting_up,
    alone,
    a_primary,
    a_primary_with_urls,
    a_satellite,
    how_a_satellite_stands,
    a_run_that_goes_on,
    people_and_what_they_did,
)
