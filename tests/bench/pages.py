"""The same visits and acts on the panel and on its peers, over the same bad line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState

from panel import clock
from panel.db import Database, make_engine
from panel.models.runs import Loop, Run
from tests.bench import peers
from tests.bench.exchange import new_process
from tests.bench.rate import (
    Always,
    AnotherEachTime,
    Rate,
    Subject,
    drawn_per_second,
    resident_mebibytes,
    unchanged_per_second,
    wait_for,
)
from tests.bench.visits import Cost, Visitor
from tests.support.cast import CODE, PASSWORD, USER
from tests.support.processes import PanelProcess, free_port
from tests.support.real_site import NATIONAL, Place, Site

# By the module that serves each.
PEERS = {"Django admin": "django_admin", "Flask-Admin": "flask_admin"}

# How long an idle tab is watched, and a page while a run lasts: some polls long.
IDLE_SECONDS, RUN_SECONDS = 60, 22


@dataclass(frozen=True)
class Measured:
    """What each visit and act costs, and what the server bears and takes (MiB resident).

    ``drawn`` are pages that differ each time; ``unchanged`` are 304s, where a page has an ETag.
    """

    costs: dict[str, Cost]
    drawn: Rate
    unchanged: Rate | None
    mebibytes: float


def measure_panel(browser: Browser, folder: Path) -> Measured:
    """Measure the page of a primary with 20 servers, and that of a satellite during a run."""
    costs = _poll(browser, folder / "satellite")
    with _primary(folder / "primary") as panel:
        state = _sign_in_to_panel(browser, panel)
        with closing(Visitor(browser, panel.port, "/", state)) as visitor:
            costs |= dict(_visits(visitor, lambda: _change_panel(panel)))
            costs |= dict(_panel_acts(visitor))
            costs["idle tab, 60 s"] = visitor.watch(IDLE_SECONDS)
        server = Subject(panel.pid, panel.port, _cookies(state))
        return Measured(
            costs,
            drawn_per_second(server, AnotherEachTime("/")),
            unchanged_per_second(server, "/"),
            resident_mebibytes(panel.pid),
        )


def measure_rates(browser: Browser, folder: Path) -> Iterator[tuple[str, Rate]]:
    """Measure the panel's page and its peers' one after the other, and the panel's once more.

    The rounds tell whether the machine did something else meanwhile; what counts is the ratio.
    """
    with _primary(folder / "primary") as panel:
        server = Subject(panel.pid, panel.port, _cookies(_sign_in_to_panel(browser, panel)))
        for again in (False, True):
            yield "Sync Panel, drawn", drawn_per_second(server, AnotherEachTime("/"))
            yield "Sync Panel, 304", unchanged_per_second(server, "/")
            for name in PEERS if not again else ():
                with _peer_process(folder / name, name, tuned=True) as (process, port):
                    path, state = _sign_in_to_peer(browser, name, port)
                    peer = Subject(process.pid, port, _cookies(state))
                    yield f"{name}, drawn", drawn_per_second(peer, Always(path))


@contextmanager
def _primary(folder: Path) -> Iterator[PanelProcess]:
    panel = new_process(folder)
    # With a pair: one that is not ready says what is missing, in more bytes.
    Site(NATIONAL, panel).configure(others=[Place(*server) for server in peers.SERVERS])
    panel.start()
    try:
        yield panel
    finally:
        panel.stop()


def _poll(browser: Browser, folder: Path) -> dict[str, Cost]:
    """Return what one question costs of the page of a satellite, of how the run goes."""
    satellite = PanelProcess(folder)
    satellite.init()
    satellite.shell("settings", "set", "sync_id=7", "name=Kadavu Health Centre", "store=KDV-01")
    database = Database(make_engine(satellite.config.database_url))
    now = clock.now()
    with database.writing() as session:
        # As the loop of another process writes it down.
        loop = session.get_one(Loop, 1)
        loop.holder, loop.held_until = "elsewhere:1:a", now + timedelta(minutes=10)
        session.add(Run(other=1, started_at=now, step="pushing", pushed=200, to_push=400))
    database.close()
    satellite.start()
    try:
        state = _sign_in_to_panel(browser, satellite)
        with closing(Visitor(browser, satellite.port, "/", state)) as visitor:
            visitor.visit()
            return {"one poll of a run": visitor.watch(RUN_SECONDS).of_one_request()}
    finally:
        satellite.stop()


def measure_peer(browser: Browser, folder: Path, name: str, *, tuned: bool) -> Measured:
    """Measure the same list and form of a peer: each visit, and adding a row."""
    with _peer_process(folder, name, tuned=tuned) as (process, port):
        path, state = _sign_in_to_peer(browser, name, port)
        with closing(Visitor(browser, port, path, state)) as visitor:
            costs = dict(_visits(visitor, lambda: None))
            costs["add"] = visitor.act(
                _add_in_django if name == "Django admin" else _add_in_flask_admin,
                lambda page: page.get_by_text("successfully").first.wait_for(),
            )
        rate = drawn_per_second(Subject(process.pid, port, _cookies(state)), Always(path))
        return Measured(costs, rate, None, resident_mebibytes(process.pid))


def _sign_in_to_peer(browser: Browser, name: str, port: int) -> tuple[str, StorageState]:
    """Return the path of a peer's list, and the cookies that open it."""
    fields = {"username": peers.USER, "password": peers.PASSWORD}
    here = f"http://127.0.0.1:{port}"
    if name == "Django admin":
        return "/admin/bench/server/", _sign_in(browser, f"{here}/admin/login/", fields)
    return "/admin/server/", _sign_in_flask_admin(browser, here, fields)


def _visits(visitor: Visitor, change: Callable[[], None]) -> Iterator[tuple[str, Cost]]:
    yield "cold", visitor.visit()
    yield "warm", visitor.visit()
    change()
    yield "changed", visitor.visit()


def _change_panel(panel: PanelProcess) -> None:
    panel.shell("settings", "set", "sync_interval=20")


def _panel_acts(visitor: Visitor) -> Iterator[tuple[str, Cost]]:
    def press(name: str) -> Callable[[Page], None]:
        return lambda page: page.get_by_role("button", name=name, exact=True).click()

    def seen(selector: str) -> Callable[[Page], None]:
        return lambda page: page.locator(selector).wait_for()

    def gone(selector: str) -> Callable[[Page], None]:
        return lambda page: page.locator(selector).first.wait_for(state="detached")

    code = "#bar [name=authorisation_code]"
    yield "open dialog", visitor.act(press("Click to un-lock"), seen(code))
    yield "close dialog", visitor.act(_click("#bar a.button"), gone(code))
    visitor.page.get_by_role("button", name="Click to un-lock").click()
    visitor.page.locator(code).fill(CODE)
    yield "unlock", visitor.act(press("OK"), seen("#bar.open"))
    visitor.page.locator("[name=interval_minutes]").fill("30")
    yield "save interval", visitor.act(_click("#save-interval"), seen("#said:text('Saved.')"))
    yield "open new row", visitor.act(_click("#add"), seen("#new form"))
    _fill(visitor.page, "#new", {"sync_id": "99", "name": "Bench Clinic", "store": "BC-1"})
    yield "add", visitor.act(_click("#new button.main"), seen("text=Bench Clinic"))
    yield "open row", visitor.act(_click("tr:has-text('Centre 5') a.edit"), seen("tr form"))
    _fill(visitor.page, "tr form", {"name": "Renamed Centre"})
    yield "edit", visitor.act(_click("tr form button.main"), seen("text=Renamed Centre"))
    visitor.page.locator("tr:has-text('Centre 7') [name=ids]").check()
    yield "ask to remove", visitor.act(_click("#remove button"), seen("#question form"))
    yield "remove", visitor.act(_click("#question button.main"), seen("#undo form"))
    yield "undo", visitor.act(_click("#undo button"), seen("tr:has-text('Centre 7')"))
    yield "lock", visitor.act(press("Lock now"), gone("#bar.open"))


def _click(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def _fill(page: Page, within: str, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        page.locator(f"{within} [name={name}]").fill(value)


def _add_in_django(page: Page) -> None:
    page.get_by_role("link", name="Add server").first.click()
    _fill(page, "#server_form", {"sync_id": "99", "name": "Bench Clinic", "store": "BC-1"})
    page.get_by_role("button", name="Save", exact=True).click()


def _add_in_flask_admin(page: Page) -> None:
    page.get_by_role("link", name="Create").first.click()
    _fill(page, "form", {"sync_id": "99", "name": "Bench Clinic", "store": "BC-1"})
    page.get_by_role("button", name="Save", exact=True).click()


def _sign_in_to_panel(browser: Browser, panel: PanelProcess) -> StorageState:
    return _sign_in(browser, f"{panel.url}/sign-in", {"name": USER, "password": PASSWORD})


def _sign_in(browser: Browser, url: str, fields: Mapping[str, str]) -> StorageState:
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(url)
        _fill(page, "form", fields)
        page.locator("form [type=password]").press("Enter")
        page.wait_for_url(lambda now: now != url)
        return context.storage_state()


def _sign_in_flask_admin(browser: Browser, here: str, fields: Mapping[str, str]) -> StorageState:
    with closing(browser.new_context()) as context:
        context.request.post(f"{here}/sign-in", form=dict(fields))
        return context.storage_state()


def _cookies(state: StorageState) -> str:
    return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in state["cookies"])


@contextmanager
def _peer_process(
    folder: Path, name: str, *, tuned: bool
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", f"tests.bench.peers.{PEERS[name]}", str(port), str(folder)]
    # `make bench` keeps the peers in a folder of their own, out of the panel's environment.
    environment = {**os.environ, "PYTHONPATH": str(Path(sys.prefix) / "bench")}
    process = subprocess.Popen(
        [*command, *(["tuned"] if tuned else [])],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield process, port
    finally:
        process.terminate()
        process.wait()
