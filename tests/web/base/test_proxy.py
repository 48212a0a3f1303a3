"""What a reverse proxy says is believed from those addresses only that the settings name."""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Map, Rule
from werkzeug.test import create_environ

from panel.accounts import people
from panel.accounts.people import Permission
from panel.accounts.sign_in import find_person
from panel.config import ConfigError, load
from panel.db import Database
from panel.web.base.proxy import TRUSTED_PEER, TrustedProxies
from tests.support.cast import MANAGER, OPERATOR, VIEWER
from tests.web.conftest import Browser, Happened, MakeApp

PROXY, STRANGER = "10.1.0.2", "203.0.113.9"
SECRET = "known-to-the-proxy-alone"
TRUSTED = (ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd00::1"))


ROUTES = Map([Rule(rule, endpoint=rule) for rule in ("/", "/people", "/sync/v5/<name>")])


def seen_through(
    peer: str, path: str = "/", prefix: str = "", routes: Map = ROUTES, **headers: str
) -> dict[str, Any]:
    """What an application with ``routes`` is told of a request from ``peer`` with ``headers``."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], _start: Any) -> Iterable[bytes]:
        seen.update(environ)
        return []

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    overrides = {"REMOTE_ADDR": peer, "PATH_INFO": path}
    environ = create_environ(headers=named, environ_overrides=overrides)
    TrustedProxies(app, routes, TRUSTED, prefix)(environ, lambda *_: lambda _: None)
    return seen


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        # The first one is what the browser claims of itself.
        ("192.0.2.1, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.1.0.9", "198.51.100.7"),
        ("10.1.0.9", "10.1.0.9"),
        ("2001:db8::5", "2001:db8::5"),
        ("<script>", PROXY),
        ("", PROXY),
    ],
)
def test_the_browsers_address_is_the_nearest_that_is_no_proxy_of_ours(
    forwarded: str, address: str
) -> None:
    assert seen_through(PROXY, X_Forwarded_For=forwarded)["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        # A site of mSupply drops the path of its URL, so it calls at the root of the host.
        ("/sync", "/sync/v5/site", "/sync/v5/site"),
        ("/panel", "/sync/v5/site", "/sync/v5/site"),
        # A satellite of ours keeps it.
        ("/sync", "/sync/sync/v5/site", "/sync/v5/site"),
        ("/panel", "/panel/sync/v5/site", "/sync/v5/site"),
        ("/sync/v5", "/sync/v5/people", "/people"),
    ],
)
def test_v5_is_served_at_the_root_of_the_host_whatever_the_prefix(
    prefix: str, path: str, rest: str
) -> None:
    assert seen_through(STRANGER, path, prefix)["PATH_INFO"] == rest


@pytest.mark.parametrize("peer", [PROXY, "fd00::1", "::ffff:10.1.0.2"])
def test_scheme_and_prefix_of_a_trusted_proxy_are_believed(peer: str) -> None:
    seen = seen_through(peer, X_Forwarded_Proto="https", X_Forwarded_Prefix="/sync/")
    assert (seen["wsgi.url_scheme"], seen["SCRIPT_NAME"]) == ("https", "/sync")
    assert seen[TRUSTED_PEER] is True


@pytest.mark.parametrize("peer", [STRANGER, "10.1.1.2", "::1", "", "unix:"])
def test_nobody_else_is_believed(peer: str) -> None:
    seen = seen_through(
        peer, X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https", X_Forwarded_Prefix="/sync"
    )
    told = (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["SCRIPT_NAME"], seen[TRUSTED_PEER])
    assert told == (peer, "http", "", False)


@pytest.mark.parametrize("prefix", ["//evil.example.org", "/\\evil.example.org", "/a b", "x"])
def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    assert seen_through(PROXY, X_Forwarded_Prefix=prefix)["SCRIPT_NAME"] == ""


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/sync/people", "/people"),
        ("/people", "/people"),
        ("/sync", "/"),
        # `location /sync { proxy_pass http://127.0.0.1:8000/; }`
        ("//people", "/people"),
    ],
)
def test_the_prefix_of_the_settings_holds_whether_or_not_the_proxy_takes_it_off(
    path: str, inside: str
) -> None:
    seen = seen_through(STRANGER, path, prefix="/sync")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/sync", inside)


@pytest.mark.parametrize("prefix", ["/sync", "/people", "/static", "/servers", "/api/v1", "/a/b"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_every_address_is_found_below_any_prefix_kept_or_taken_off(
    make_app: MakeApp, prefix: str, is_kept: bool
) -> None:
    routes = make_app(peopled=False).url_map
    paths = [re.sub("<.*?>", "7", str(rule)) for rule in routes.iter_rules()]
    for path in ("/static/app.js", *paths):
        sent = f"{prefix}{path}" if is_kept else path
        seen = seen_through(STRANGER, sent, prefix, routes)
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (prefix, path)


@pytest.mark.parametrize("prefix", ["", "/sync"])
def test_two_slashes_lead_to_no_redirect(make_app: MakeApp, prefix: str) -> None:
    browser = Browser(make_app(path_prefix=prefix))
    for path in ("/api//v1/records/item", "/api/v1//status", "/account//sessions/1/end"):
        answer = browser.get(f"{prefix}{path}")
        assert (answer.status_code, "Location" in answer.headers) == (404, False)
        assert "localhost" not in answer.text


def test_below_a_prefix_every_address_and_cookie_has_it(make_app: MakeApp) -> None:
    browser = Browser(make_app(path_prefix="/sync"))
    response = browser.get("/sync/activity")
    assert response.location == "/sync/sign-in?next=/activity"
    page = browser.get("/sync/sign-in?next=/activity")
    assert 'action="/sync/sign-in"' in page.text
    assert 'src="/sync/static/app.' in page.text
    assert "Path=/sync" in page.headers["Set-Cookie"]
    script = page.text.split('src="')[1].split('"')[0]
    assert browser.get(script).status_code == 200


# --- the proxy says who it is ---------------------------------------------------------------------


@pytest.fixture
def behind_proxy(make_app: MakeApp) -> Flask:
    return make_app(
        trusted_proxies=TRUSTED, remote_user_header="X-Remote-User", remote_user_secret=SECRET
    )


def from_proxy(app: Flask) -> Browser:
    return Browser(app, REMOTE_ADDR=PROXY, HTTP_X_SYNC_PANEL_PROXY=SECRET)


@pytest.mark.parametrize("secret", ["", "another secret of the proxy", "é"])
def test_another_program_at_the_proxys_address_names_nobody(
    behind_proxy: Flask, secret: str
) -> None:
    browser = Browser(behind_proxy, REMOTE_ADDR=PROXY, HTTP_X_SYNC_PANEL_PROXY=secret)
    assert browser.get("/people", X_Remote_User=MANAGER).status_code == 303


def test_the_header_needs_a_secret(tmp_path: Path) -> None:
    settings = {
        "SYNC_PANEL_DATA_DIR": str(tmp_path),
        "SYNC_PANEL_TRUSTED_PROXIES": "127.0.0.1",
        "SYNC_PANEL_REMOTE_USER_HEADER": "X-Remote-User",
    }
    for secret in ("", "short"):
        with pytest.raises(ConfigError, match="SYNC_PANEL_REMOTE_USER_SECRET"):
            load({**settings, "SYNC_PANEL_REMOTE_USER_SECRET": secret})
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    config = load({**settings, "SYNC_PANEL_REMOTE_USER_SECRET_FILE": str(path)})
    assert config.remote_user_secret == SECRET
    assert SECRET not in repr(config)


def test_a_known_person_is_signed_in(behind_proxy: Flask, happened: Happened) -> None:
    browser = from_proxy(behind_proxy)
    for _ in range(2):
        response = browser.get("/people", X_Remote_User=MANAGER, X_Forwarded_For="198.51.100.7")
        assert response.status_code == 200
    rows = happened("signed_in")
    assert [(row.person, row.via, row.address) for row in rows] == [
        (MANAGER, "proxy", "198.51.100.7")
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_with_accents_is_known(
    behind_proxy: Flask, database: Database, encoding: str
) -> None:
    with database.writing() as session:
        people.add_person(session, OPERATOR, "Zoé", None, [Permission.VIEW])
    sent = "Zoé".encode(encoding).decode("latin-1")
    assert from_proxy(behind_proxy).get("/activity", X_Remote_User=sent).status_code == 200


def test_the_header_of_anybody_else_is_ignored(behind_proxy: Flask) -> None:
    browser = Browser(behind_proxy, REMOTE_ADDR=STRANGER)
    # Not even the address that a stranger claims to come from helps.
    response = browser.get("/people", X_Remote_User=MANAGER, X_Forwarded_For=PROXY)
    assert response.status_code == 303


def test_without_the_setting_no_header_signs_in(app: Flask) -> None:
    browser = Browser(app, REMOTE_ADDR="127.0.0.1")
    assert browser.get("/", X_Remote_User=MANAGER, Remote_User=MANAGER).status_code == 303


def test_an_unknown_person_is_refused_in_words(behind_proxy: Flask, happened: Happened) -> None:
    for path in ("/", "/sign-in"):
        response = from_proxy(behind_proxy).get(path, X_Remote_User="<eve>")
        assert response.status_code == 403
        assert "&lt;eve&gt;" in response.text
    row = happened("refused_permission")[0]
    assert (row.person, row.via, row.address) == ("<eve>", "proxy", PROXY)


def test_a_disabled_person_is_refused(behind_proxy: Flask, database: Database) -> None:
    browser = from_proxy(behind_proxy)
    assert browser.get("/activity", X_Remote_User=VIEWER).status_code == 200
    with database.writing() as session:
        vito = find_person(session, VIEWER)
        assert vito is not None
        people.disable(session, OPERATOR, vito.id)
    assert browser.get("/activity", X_Remote_User=VIEWER).status_code == 403


def test_the_session_of_a_proxy_is_worth_nothing_without_its_header(behind_proxy: Flask) -> None:
    browser = from_proxy(behind_proxy)
    browser.get("/people", X_Remote_User=MANAGER)
    assert browser.get("/people").status_code == 303
    stolen = Browser(behind_proxy, REMOTE_ADDR=STRANGER)
    stolen.set_cookie("s", browser.cookie("s"))
    assert stolen.get("/people", X_Remote_User=MANAGER).status_code == 303


def test_another_name_is_another_person_at_once(behind_proxy: Flask) -> None:
    browser = from_proxy(behind_proxy)
    assert browser.get("/people", X_Remote_User=MANAGER).status_code == 200
    assert browser.get("/people", X_Remote_User=VIEWER).status_code == 403
