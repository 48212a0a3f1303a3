"""``sync-panel doctor`` and ``healthcheck``: look at an installation, and say what to do."""

import os
import re
import socket
import sqlite3
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from platform import python_version
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import click
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from panel import __version__, clock
from panel.accounts.people import first_person_exists
from panel.cli.sync import EXIT_NEEDS_ATTENTION
from panel.config import DEFAULT_PORTS, Config, load
from panel.db import Database, check_sqlite_file, first_line, is_pooled, make_engine
from panel.errors import Refusal
from panel.installation import READ_ONLY_SERVER, check_writable_file, exists
from panel.migrate import newest_revision, present_revision
from panel.models.runs import Loop
from panel.security.vault import KEY_FILE_NAME, has_key
from panel.server import url_of
from panel.status.sentences import Severity
from panel.status.state import as_facts, read_state

TIME_OUT_SECONDS = 10
# The loop of some process removes what is old once a day.
_LOOP_SILENT_SECONDS = 2 * 86_400
# Of a certificate; most are renewed a month before their end.
_FEW_DAYS = 14


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, and what is or what to do."""

    is_well: bool
    subject: str
    words: object


@dataclass(frozen=True)
class Page:
    """An answer over HTTP."""

    status: int
    body: str
    cookies: str = ""


@click.command("doctor")
@click.option("--url", help="Look from outside too: https://central.example.org/sync, for example.")
@click.pass_context
def doctor(context: click.Context, url: str | None) -> None:
    """Look at this installation, and say in a line each what is well and what to do.

    Nothing is changed. Exit codes: 0 all is well; 4 somebody has to see to something.
    """
    findings = list(_examine(load(os.environ, make=False), url))
    for one in findings:
        click.echo(f"{'well' if one.is_well else 'LOOK'}  {one.subject}: {one.words}")
    context.exit(0 if all(one.is_well for one in findings) else EXIT_NEEDS_ATTENTION)


@click.command("healthcheck")
def healthcheck() -> None:
    """Ask the running panel if it is well."""
    page = _ask_health(load(os.environ, make=False))
    if page.status != HTTPStatus.OK:
        raise click.ClickException(page.body)
    click.echo(page.body)


def _examine(config: Config, url: str | None) -> Iterator[Finding]:
    yield Finding(True, "Versions", f"Sync Panel {__version__}, Python {python_version()}")
    yield _clock()
    yield from _key(config)
    yield from _database(config)
    yield from _proxy(config)
    yield _server(config)
    if url:
        yield from _outside(url.rstrip("/"))


def _clock() -> Finding:
    now = clock.now()
    words = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < clock.RELEASED_AT:
        return Finding(False, "Clock", f"{words} is before this version was made: set the clock.")
    return Finding(True, "Clock", words)


def _key(config: Config) -> Iterator[Finding]:
    file = config.data_dir / KEY_FILE_NAME
    if not config.secret_keys:
        yield Finding(False, "Secret key", f"There is none in {config.data_dir}; see Database.")
    elif has_key(config.data_dir) and stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Finding(False, "Secret key", f"Others can read {file}: chmod 600 it.")
    else:
        older = len(config.secret_keys) - 1
        yield Finding(True, "Secret key", f"present{f', and {older} older' if older else ''}")


def _database(config: Config) -> Iterator[Finding]:
    try:
        check_writable_file(config.database_url)
        check_sqlite_file(config.database_url)
        database = Database(make_engine(config.database_url))
        try:
            yield from _in_database(config, database)
        finally:
            database.close()
    except Refusal as refusal:
        yield Finding(False, "Database", refusal)
    except SQLAlchemyError as error:
        yield Finding(False, "Database", first_line(error))


def _in_database(config: Config, database: Database) -> Iterator[Finding]:
    if not (config.data_dir.is_dir() and exists(database)):
        words = f"There is no panel in {config.data_dir} yet: `sync-panel up` or `init` begins one."
        yield Finding(False, "Database", words)
        return
    if not database.is_writable():
        yield Finding(False, "Database", READ_ONLY_SERVER)
        return
    yield _kind_of(database)
    present, newest = present_revision(database.engine), newest_revision()
    if present != newest:
        words = f"at revision {present}, and this version is at {newest}: start the panel anew."
        yield Finding(False, "Tables", words)
        return
    if not database.has_room():
        yield Finding(False, "Disk", "full: nothing can be kept. Make room; it goes on by itself.")
    with database.reading() as session:
        yield from _in_tables(session)


def _kind_of(database: Database) -> Finding:
    if database.engine.dialect.name == "sqlite":
        return Finding(True, "Database", f"SQLite {sqlite3.sqlite_version}, can be written")
    with database.engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version"))
        role = connection.scalar(text("SELECT current_user"))
        pooled = is_pooled(connection.connection.dbapi_connection)
    words = f"PostgreSQL {version} as {role}, can be written"
    return Finding(True, "Database", f"{words}, behind a pooler" if pooled else words)


def _in_tables(session: Session) -> Iterator[Finding]:
    if not first_person_exists(session):
        words = "Nobody can sign in yet: run `sync-panel init`, or open the link that `up` prints."
        yield Finding(False, "People", words)
    purged_at, now = session.get_one(Loop, 1).purged_at, clock.now()
    if purged_at is None or (now - purged_at).total_seconds() > _LOOP_SILENT_SECONDS:
        words = "Nothing did its daily work: `sync-panel up` or `sync-panel worker` has to run."
        yield Finding(False, "Worker", words)
    else:
        yield Finding(True, "Worker", f"did its daily work at {purged_at:%Y-%m-%d %H:%M} UTC")
    state = read_state(session, now)
    facts = as_facts(state)
    words = " ".join(str(facts[name]) for name in ("sentence", "next") if facts[name])
    is_well = state.severity not in (Severity.LATE, Severity.VERY_LATE)
    yield Finding(is_well, "Sync", words)


def _proxy(config: Config) -> Iterator[Finding]:
    path = config.path_prefix or "/"
    if config.trusted_proxies:
        names = " ".join(map(str, config.trusted_proxies))
        signs_in = "; it signs people in" if config.remote_user_header else ""
        yield Finding(True, "Proxy", f"believed from {names}, path {path}{signs_in}")
    elif config.path_prefix:
        words = f"The path is {path}, but SYNC_PANEL_TRUSTED_PROXIES names no proxy."
        yield Finding(False, "Proxy", words)


def _server(config: Config) -> Finding:
    try:
        page = _ask_health(config)
    except click.ClickException as failed:
        return Finding(False, "Server", failed.message)
    return Finding(page.status == HTTPStatus.OK, "Server", page.body)


def _ask_health(config: Config) -> Page:
    return _ask(f"{url_of(config.host, config.port, config.path_prefix)}healthz")


def _ask(url: str) -> Page:
    """Return what is at ``url``. Raise ClickException if nothing answers."""
    try:
        # Without the proxy of the environment, which does not lead to this machine.
        with build_opener(ProxyHandler({})).open(url, timeout=TIME_OUT_SECONDS) as answer:
            cookies = " ".join(answer.headers.get_all("Set-Cookie", []))
            return Page(answer.status, answer.read().decode().strip(), cookies)
    except HTTPError as error:
        return Page(error.code, error.read().decode(errors="replace").strip())
    except (URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise click.ClickException(f"Nothing answers at {url}: {reason}") from error


def _outside(url: str) -> Iterator[Finding]:
    try:
        yield from _certificate(url)
        yield _health_outside(url)
        yield from _page_outside(url)
        yield _satellites_outside(url)
    except (click.ClickException, OSError) as failed:
        yield Finding(False, "From outside", getattr(failed, "message", failed))


def _certificate(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return
    place = parts.hostname, parts.port or int(DEFAULT_PORTS["https"][1:])
    with (
        socket.create_connection(place, TIME_OUT_SECONDS) as line,
        ssl.create_default_context().wrap_socket(line, server_hostname=parts.hostname) as secured,
    ):
        ends_at = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    days = int((ends_at - time.time()) // 86_400)
    yield Finding(days >= _FEW_DAYS, "Certificate", f"of {parts.hostname} ends in {days} days")


def _health_outside(url: str) -> Finding:
    page = _ask(f"{url}/healthz")
    if page.status == HTTPStatus.OK and '"ok"' in page.body:
        return Finding(True, "From outside", f"{url} leads to the panel")
    if page.status == HTTPStatus.UNAUTHORIZED:
        return Finding(False, "From outside", f"The proxy asks for a sign-in at {url}/healthz.")
    words = f"{url}/healthz answers {page.status}: does the proxy pass it on, with its Host?"
    return Finding(False, "From outside", words)


def _page_outside(url: str) -> Iterator[Finding]:
    page, parts = _ask(f"{url}/sign-in"), urlsplit(url)
    action = re.search(r'action="([^"?]*)/sign-in', page.body)
    if action and action[1] != parts.path:
        words = f"The page's addresses begin with {action[1] or '/'}, not with {parts.path or '/'}"
        yield Finding(False, "Path", f"{words}: set SYNC_PANEL_PATH_PREFIX={parts.path}")
    if parts.scheme == "https" and page.cookies and "Secure" not in page.cookies:
        words = "The panel is not told of https: X-Forwarded-Proto, SYNC_PANEL_TRUSTED_PROXIES."
        yield Finding(False, "https", words)


def _satellites_outside(url: str) -> Finding:
    # Nobody asks so; the panel itself refuses it with this code, and a proxy with another answer.
    page = _ask(f"{url}/sync/exchange")
    if "method_not_allowed" in page.body:
        return Finding(True, "Satellites", f"reach the panel with the URL {url}")
    words = f"do not get through: {url}/sync/exchange answers {page.status}"
    return Finding(False, "Satellites", f"{words}. Leave it out of the proxy's sign-in.")
