"""The verdict: each state has a sentence, and page, list, shell and API say the same one."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from panel.accounts.tokens import add_token
from panel.config import Config
from panel.db import Database
from panel.models.records import Quarantined, Record
from panel.models.runs import Applicant, Link, Loop, Peer, Run
from panel.models.settings import Server, Settings
from panel.preferences.interval import set_interval
from tests.support.cast import OPERATOR
from tests.support.clock import Clock
from tests.support.shell import Shell
from tests.support.web_sites import make_primary, make_satellite, words
from tests.web.conftest import Browser


@dataclass
class Site:
    """One server, whose sync service the test plays."""

    database: Database
    time: Clock

    def set(self, table: type[Any], **values: Any) -> None:
        with self.database.writing() as session:
            row = session.get_one(table, 1)
            for name, value in values.items():
                setattr(row, name, value)

    def add(self, *rows: Any) -> None:
        with self.database.writing() as session:
            session.add_all(rows)

    def met(self, **ago: float) -> None:
        """Let the last success be so long ago."""
        at = self.time() - timedelta(**ago)
        self.set(Link, device_token_sealed="t", last_success_at=at, last_attempt_at=at)

    def waiting(self, number: int) -> None:
        self.add(
            *(
                Record(
                    **{"table_name": "item", "record_id": str(one), "owner": 7, "version": 1},
                    **{"seq": one + 1, "data": "{}", "waiting": True, "changed_at": self.time()},
                )
                for one in range(number)
            )
        )

    def run(self, **values: Any) -> None:
        self.set(Loop, holder="one", held_until=self.time() + timedelta(minutes=5))
        self.add(Run(other=1, **{"started_at": self.time(), **values}))

    def quarantine(self, number: int) -> None:
        self.add(
            *(
                Quarantined(
                    **{"source": 1, "table_name": "item", "record_id": str(one), "owner": 1},
                    **{"version": 1, "deleted": False, "tries": 1, "reason": "not_the_owner"},
                    **{"first_at": self.time(), "last_at": self.time()},
                )
                for one in range(number)
            )
        )


def in_step(site: Site) -> None:
    site.met(minutes=3)


def some_wait(site: Site) -> None:
    site.met(minutes=3)
    site.waiting(2)


def running(site: Site) -> None:
    site.met(minutes=3)
    site.set(Link, seconds_per_record_up=0.3)
    site.run(step="pushing", pushed=120, to_push=480)


def no_answer(site: Site) -> None:
    site.met(minutes=3)
    site.run(step="pushing", to_push=4)
    site.set(Loop, silent_since=site.time() - timedelta(seconds=25))


def line_down(site: Site) -> None:
    some_wait(site)
    site.set(Loop, failures=2)
    site.add(Run(other=1, started_at=site.time(), result="failed", reason="timed_out"))


def line_down_for_two_days(site: Site) -> None:
    site.set(Settings, contact="Help desk, 555-0101")
    line_down(site)
    site.met(days=2)


def line_down_for_ten_days(site: Site) -> None:
    line_down(site)
    site.met(days=10)


def wrong_address(site: Site) -> None:
    site.set(Loop, failures=2)
    values = {"host": "centrl.example.invalid"}
    fault = {"reason": "name_not_found", "reason_values": values}
    site.add(Run(other=1, started_at=site.time(), result="failed", **fault))


def fault(code: str, **values: Any) -> Callable[[Site], None]:
    def failed(site: Site) -> None:
        site.met(minutes=3)
        site.set(Loop, failures=1)
        why = {"reason": code, "reason_values": {"host": "central.example.org", **values}}
        site.add(Run(other=1, started_at=site.time(), result="failed", **why))

    return failed


def moved(site: Site) -> None:
    """As after a change of the URL: whoever is there now has not answered yet."""
    site.set(Link, token_withheld=True)


def after(*plays: Callable[[Site], None]) -> Callable[[Site], None]:
    def play(site: Site) -> None:
        for one in plays:
            one(site)

    return play


def not_tried(site: Site) -> None:
    site.met(days=1)


def refuse(code: str, **values: Any) -> Callable[[Site], None]:
    def refused(site: Site) -> None:
        site.met(minutes=3)
        site.set(Settings, contact="Help desk, 555-0101")
        site.set(Loop, refusal=code, refusal_values=values or None, refused_at=site.time())

    return refused


def paused(site: Site) -> None:
    site.met(minutes=3)
    with site.database.writing() as session:
        set_interval(session, OPERATOR, 0, 1)


def set_aside(site: Site) -> None:
    site.met(minutes=3)
    site.quarantine(2)


def wrong_clock(site: Site) -> None:
    site.met(minutes=3)
    site.set(Link, clock_seconds=-900)


def without_key(site: Site) -> None:
    refuse("password_unreadable")(site)
    site.set(Settings, password_sealed="sealed by another key")


def without_pair(site: Site) -> None:
    site.set(Settings, user_name="")


def nothing(_site: Site) -> None:
    pass


HERE, THERE, NOBODY = "here", "there", "nobody"
GREEN, NEUTRAL, AMBER, RED, GREY, BLUE = "well", "waiting", "late", "very_late", "off", "working"
Case = tuple[Callable[[Site], None], str, str, str, str, str]
SATELLITE: dict[str, Case] = {
    "up to date": (
        *(in_step, "up_to_date", GREEN, NOBODY, "up to date"),
        "All well. Everything is safe at National Store.",
    ),
    "some wait": (
        *(some_wait, "up_to_date", GREEN, NOBODY, "up to date"),
        "All well. 2 records are safe on this computer and go with the next sync.",
    ),
    "running": (
        *(running, "syncing", BLUE, NOBODY, "syncing"),
        "Syncing now: 120 of 480 records sent, about 2 minutes.",
    ),
    "no answer": (
        *(no_answer, "no_answer", NEUTRAL, NOBODY, "no answer"),
        "No answer from National Store for 25 s. Trying until 09:01 UTC.",
    ),
    "line down": (
        *(line_down, "unreachable", NEUTRAL, NOBODY, "no connection"),
        "2 records are safe on this computer and go by themselves when the line is back. Nothing "
        "to do.",
    ),
    "line down for two days": (
        *(line_down_for_two_days, "unreachable", AMBER, HERE, "no connection"),
        "Not synced since Saturday. 2 records are safe on this computer. Check the line; if it "
        "works: Call Help desk, 555-0101.",
    ),
    "line down for ten days": (
        *(line_down_for_ten_days, "unreachable", RED, HERE, "no connection"),
        "Not synced since 13 November 2026. 2 records are safe on this computer. Check the line; "
        "if it works: Tell whoever looks after National Store.",
    ),
    "https at a port of http": (
        *(fault("no_tls"), "unreachable", AMBER, HERE, "no connection"),
        "central.example.org does not speak https at this port. Check the URL.",
    ),
    "http at a port of https": (
        *(fault("tls_wanted"), "unreachable", AMBER, HERE, "no connection"),
        "central.example.org speaks only https at this port. Check the URL.",
    ),
    "a sign-in of the line": (
        *(fault("line_sign_in"), "unreachable", AMBER, HERE, "no connection"),
        "The internet line wants a sign-in first (HTTP 511). Open any web page on this computer "
        "and sign in. It is then tried again by itself.",
    ),
    "a page in its place": (
        *(fault("not_a_sync_server"), "unreachable", AMBER, HERE, "no connection"),
        "Something else answers in the place of National Store. Open any web page on this "
        "computer: the internet line may want a sign-in.",
    ),
    "a new URL that is no primary's": (
        *(after(fault("not_a_sync_server"), moved), "unreachable", AMBER, HERE, "no connection"),
        "Something answers at this address, but it is no sync server. Check the URL.",
    ),
    "a new URL that nothing listens at": (
        *(after(fault("connection_refused"), moved), "unreachable", AMBER, HERE, "no connection"),
        "central.example.org cannot be reached, or nothing listens there. Check the URL.",
    ),
    "a proxy that refuses": (
        *(fault("proxy_refuses", status=407), "unreachable", AMBER, HERE, "no connection"),
        "The proxy central.example.org does not let this server through (HTTP 407). Check the "
        "Proxy in the parameters, or if it is empty HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the "
        "service.",
    ),
    "wrong address": (
        *(wrong_address, "unreachable", AMBER, HERE, "no connection"),
        "The name centrl.example.invalid was not found. Check the URL.",
    ),
    "not tried": (
        *(not_tried, "late", AMBER, HERE, "late"),
        "Not synced since Sunday. Nothing waits on this computer. Press Sync now; if that does "
        "not help: Tell whoever looks after National Store.",
    ),
    "another store": (
        *(refuse("identity_differs", differences=[["store", "KDV-01", "KDV-9"]]), "refused"),
        *(RED, HERE, "refused"),
        "National Store has this store as KDV-01, here it is KDV-9.",
    ),
    "another computer": (
        *(refuse("site_incorrect_hardware_id"), "refused", RED, THERE, "refused"),
        "National Store has another computer for Kadavu. It has to clear the Hardware ID there; "
        "then this one goes on by itself. Call Help desk, 555-0101.",
    ),
    "wrong password": (
        *(refuse("site_incorrect_password"), "refused", RED, HERE, "refused"),
        "National Store does not accept the Password of this server. Type it again here.",
    ),
    "two machines": (
        *(refuse("two_machines", sync_id=7), "refused", RED, HERE, "refused"),
        "Two computers use Sync ID 7. Switch one off, or give it a number of its own.",
    ),
    "not added": (
        *(refuse("waiting_to_be_added", sync_id=7), "refused", RED, THERE, "refused"),
        "National Store has to add this server, Sync ID 7; then it goes on by itself. Call Help "
        "desk, 555-0101.",
    ),
    "key": (
        *(without_key, "refused", RED, HERE, "refused"),
        "The Password cannot be read: the secret key of this installation is another one. Type "
        "the Password again here.",
    ),
    "busy": (
        *(refuse("site_auth_timeout"), "refused", NEUTRAL, NOBODY, "refused"),
        "National Store is busy with others. It is tried again by itself. Nothing to do.",
    ),
    "of a newer primary": (
        *(refuse("no_such_code"), "refused", RED, THERE, "refused"),
        "National Store refuses this server. The reason given is “no_such_code”. Call Help desk, "
        "555-0101.",
    ),
    "paused": (
        *(paused, "paused", GREY, NOBODY, "paused"),
        f"Paused by {OPERATOR.name}: the interval is 0.",
    ),
    "set aside": (
        *(set_aside, "set_aside", AMBER, HERE, "needs a decision"),
        "All well, but 2 records need a decision.",
    ),
    "clock": (
        *(wrong_clock, "clock", RED, HERE, "a clock is wrong"),
        "The clock of this server is 15 minutes behind the primary's: set the one that is wrong.",
    ),
    "not ready": (
        *(without_pair, "not_ready", AMBER, HERE, "not ready"),
        "Not ready: no user name and password yet.",
    ),
    "new": (
        *(nothing, "never", GREY, NOBODY, "not yet synchronised"),
        "Not synchronised with National Store yet: it begins by itself.",
    ),
}


@pytest.fixture
def site(database: Database, time: Clock) -> Site:
    return Site(database, time)


@pytest.fixture
def shell(config: Config) -> Iterator[Shell]:
    (config.data_dir / "secret_key").write_text(config.secret_keys[0], "ascii")
    shell = Shell(config.data_dir, config.database_url)
    yield shell
    shell.close()


def told_by_all(site: Site, browser: Browser, shell: Shell) -> tuple[dict[str, Any], str]:
    """Return what the shell and the API say alike, and the page."""
    facts: dict[str, Any] = json.loads(shell.run("status", "--json").stdout)
    assert facts["sentence"] in shell.run("status").stdout
    with site.database.writing() as session:
        bearer = {"Authorization": f"Bearer {add_token(session, OPERATOR, 'Intranet')}"}
    # An application is signed in by its token alone.
    of_api = browser.app.test_client().get("/api/v1/status", headers=bearer).get_json()
    assert of_api == {**facts, "next": of_api["next"]}
    return facts, browser.get("/").text


def headline(page: str) -> tuple[str, str]:
    """Return the class and the words of the verdict, without the hour of a moment."""
    found = re.search(r'<h2 class="(\w+)".*?>(.*?)</h2>(\s*<p class="parts".*?</p>)?', page, re.S)
    assert found
    return found[1], unescape(words(found[2] + (found[3] or ""))).replace(" .", ".")


@pytest.mark.parametrize("name", SATELLITE)
def test_a_satellite(manager: Browser, shell: Shell, site: Site, config: Config, name: str) -> None:
    make_satellite(site.database, config)
    play, kind, severity, acts, word, sentence = SATELLITE[name]
    play(site)
    facts, page = told_by_all(site, manager, shell)
    assert facts["sentence"] == sentence
    assert (facts["state"], facts["severity"], facts["acts"]) == (kind, severity, acts)
    assert facts["words"] == word
    # The browser shows a moment in its own zone.
    assert headline(page) == (severity, sentence.replace(" UTC", ""))
    assert f'<span class="{severity}">{word}</span>' in page


def test_nothing_is_called_safe_on_a_computer_that_keeps_nothing(
    manager: Browser, shell: Shell, site: Site, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_satellite(site.database, config)
    some_wait(site)
    monkeypatch.setattr("panel.db.LEAST_ROOM_BYTES", float("inf"))
    facts, page = told_by_all(site, manager, shell)
    sentence = (
        "The disk of this computer is full: nothing can be kept. Make room; it goes on by itself."
    )
    assert (facts["state"], facts["sentence"]) == ("full", sentence)
    assert headline(page) == (RED, sentence)
    assert "safe" not in words(page)
    assert '<span class="very_late">disk full</span>' in page


def test_a_server_of_its_own(manager: Browser, shell: Shell, site: Site) -> None:
    facts, page = told_by_all(site, manager, shell)
    sentence = "This server synchronises with nobody. These preferences can be ignored."
    assert (facts["state"], facts["sentence"]) == ("standalone", sentence)
    assert headline(page) == (GREY, sentence)
    assert "This is the primary" in page


# --- what there is to do --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("another store", "Use what National Store says"),
        ("wrong password", "Change Password"),
        ("wrong address", "Change URL"),
        ("not ready", "Enter them"),
        ("set aside", "Look"),
    ],
)
def test_who_has_to_act_here_gets_one_thing_to_press(
    manager: Browser, viewer: Browser, site: Site, config: Config, name: str, act: str
) -> None:
    make_satellite(site.database, config)
    SATELLITE[name][0](site)
    block = status_of(manager.get("/").text)
    assert act in block
    assert len(re.findall(r'<button>(?!Sync now|Initialise)|class="button"', block)) == 1
    assert "Change" not in status_of(viewer.get("/").text)


@pytest.mark.parametrize("name", ["line down", "another computer", "busy", "up to date"])
def test_who_can_do_nothing_here_gets_nothing_to_press(
    manager: Browser, site: Site, config: Config, name: str
) -> None:
    make_satellite(site.database, config)
    SATELLITE[name][0](site)
    assert 'class="button"' not in status_of(manager.get("/").text)


def test_the_facts_say_since_when_and_what_waits(
    manager: Browser, site: Site, config: Config
) -> None:
    make_satellite(site.database, config)
    SATELLITE["wrong password"][0](site)
    site.waiting(4)
    facts = words(status_of(manager.get("/").text))
    assert "Refused since 23 Nov 2026, 09:00 · 4 records are safe on this computer" in facts
    assert "last success 23 Nov 2026, 08:57" in facts


def status_of(page: str) -> str:
    return page.partition('<section id="status"')[2].partition("</section>")[0]


# --- of a primary ---------------------------------------------------------------------------------


@pytest.fixture
def rows(site: Site, config: Config) -> list[int]:
    return make_primary(site.database, config)


def succeed(site: Site, server_id: int, **ago: float) -> None:
    with site.database.writing() as session:
        session.get_one(Server, server_id).last_success_at = site.time() - timedelta(**ago)


def applicant(site: Site) -> None:
    fields = {"sync_id": 31, "name": "Savu", "store": "SAV", "hardware_id": "11"}
    at = {"first_at": site.time(), "last_at": site.time()}
    site.add(Applicant(**fields, address="192.0.2.31", **at))


def test_all_satellites_are_up_to_date(
    manager: Browser, shell: Shell, site: Site, rows: list[int]
) -> None:
    for row in rows:
        succeed(site, row, minutes=1)
    facts, page = told_by_all(site, manager, shell)
    assert facts["sentence"] == "2 of 2 satellites up to date."
    assert headline(page) == (GREEN, facts["sentence"])
    assert facts["acts"] == NOBODY


def test_the_worst_of_a_primary_wins(
    manager: Browser, shell: Shell, site: Site, rows: list[int]
) -> None:
    succeed(site, rows[0], minutes=1)
    succeed(site, rows[1], days=2)
    facts, page = told_by_all(site, manager, shell)
    assert facts["sentence"] == "1 of 2 satellites up to date. 1 late"
    assert headline(page) == (AMBER, facts["sentence"])
    site.add(Peer(server_id=rows[0], site_uuid="u", refusal="identity_differs"))
    site.quarantine(3)
    applicant(site)
    with site.database.writing() as session:
        bearer = session.get_one(Server, rows[1])
        bearer.last_success_at = None
    facts = json.loads(shell.run("status", "--json").stdout)
    assert facts["sentence"] == (
        "0 of 2 satellites up to date. 1 refused · 1 not yet seen · 1 waiting to be added · "
        "3 records need a decision"
    )
    page = manager.get("/").text
    assert headline(page) == (RED, facts["sentence"].replace(" ·", ""))
    assert facts["satellites"] == {
        **{"total": 2, "refused": 1, "very_late": 0, "late": 0, "not_seen": 1, "up_to_date": 0},
        "applicants": 1,
    }
    # Each row says what the sentence counted.
    assert 'class="very_late">refused</a>' in page
    assert 'class="not_seen">not yet seen</a>' in page
    listed = json.loads(shell.do("servers", "list", "--json"))
    assert [row["state"] for row in listed] == ["refused", "not_seen"]
    assert words(manager.get(f"/servers/{rows[0]}/sync").text).count("Refused.") == 1


def test_an_open_page_of_a_primary_gets_its_rows_once_an_hour(
    manager: Browser, site: Site, rows: list[int]
) -> None:
    succeed(site, rows[0], minutes=1)
    succeed(site, rows[1], minutes=1)
    found = re.search(r'<span data-due="(\S+) ', manager.get("/").text)
    assert found
    site.time.pass_by(minutes=10)
    succeed(site, rows[0], minutes=1)
    light = manager.get(found[1], htmx=True)
    assert words(light.text) == "last success"
    assert "T09:09Z" in light.text
    # Somebody uses the session, in another tab.
    assert manager.get("/activity").status_code == 200
    site.time.pass_by(minutes=51)
    assert f'id="s{rows[0]}"' in manager.get(found[1], htmx=True).text


def test_who_is_told_to_come_back_later_is_not_refused(
    manager: Browser, site: Site, rows: list[int]
) -> None:
    succeed(site, rows[0], minutes=1)
    succeed(site, rows[1], minutes=1)
    site.add(Peer(server_id=rows[0], site_uuid="u", refusal="initialise_later"))
    assert headline(manager.get("/").text) == (GREEN, "2 of 2 satellites up to date.")


def test_a_primary_without_a_pair_is_not_ready(
    manager: Browser, shell: Shell, site: Site, rows: list[int]
) -> None:
    site.set(Settings, user_name="")
    facts, page = told_by_all(site, manager, shell)
    assert facts["sentence"] == "Not ready: no user name and password yet."
    assert headline(page) == (AMBER, facts["sentence"])
    assert "Enter them" in page
    # Whose satellites have pairs of their own needs none.
    with site.database.writing() as session:
        for row in rows:
            session.get_one(Server, row).password_hash = "a hash"
    assert headline(manager.get("/").text)[1].startswith("0 of 2")


def test_a_url_that_disables_a_primary_is_named(
    manager: Browser, shell: Shell, site: Site, rows: list[int]
) -> None:
    with site.database.writing() as session:
        session.get_one(Server, rows[0]).url = "https://x.example.org"
    facts, page = told_by_all(site, manager, shell)
    assert facts["sentence"] == "Sync is disabled: row 7 Kadavu has a URL."
    assert headline(page) == (RED, facts["sentence"])
    assert f'action="/servers/{rows[0]}/url/clear"' in page


# --- the list by state ----------------------------------------------------------------------------


@pytest.fixture
def mixed(site: Site, rows: list[int]) -> list[int]:
    """The first is refused and has been away for the longest, the second is late."""
    succeed(site, rows[0], days=9)
    succeed(site, rows[1], days=2)
    site.add(Peer(server_id=rows[0], site_uuid="u", refusal="identity_differs"))
    return rows


@pytest.mark.parametrize("htmx", [False, True])
def test_a_count_leads_to_those_that_it_counts(
    manager: Browser, mixed: list[int], htmx: bool
) -> None:
    assert 'href="/?state=refused" hx-get hx-target="#rows"' in manager.get("/").text
    answer = manager.get("/?state=refused", htmx=htmx).text
    assert f'id="s{mixed[0]}"' in answer
    assert f'id="s{mixed[1]}"' not in answer
    assert "1 of 2 refused" in words(answer)
    assert "Show all" in answer
    none = manager.get("/?state=very_late", htmx=htmx).text
    assert "No server is in this state." in none
    # What is no state filters nothing.
    assert f'id="s{mixed[1]}"' in manager.get("/?state=colour", htmx=htmx).text


@pytest.mark.usefixtures("mixed")
def test_the_download_has_what_is_filtered(manager: Browser) -> None:
    page = manager.get("/?state=late&sort=name").text
    assert 'href="/servers.csv?state=late&amp;sort=name"' in page
    download = manager.get("/servers.csv?state=late&sort=name")
    assert download.headers["Content-Disposition"] == 'attachment; filename="servers.csv"'
    lines = download.text.splitlines()
    assert lines[0].endswith("state,sync_id,name,store,user_name,url,hardware_id,last_contact_at,"
                             "last_success_at")  # fmt: skip
    assert [line[:16] for line in lines[1:]] == ["late,8,Rotuma,RO"]


@pytest.mark.usefixtures("mixed")
def test_the_shell_lists_one_state(shell: Shell) -> None:
    found = json.loads(shell.do("servers", "list", "--state", "refused", "--json"))
    assert [row["sync_id"] for row in found] == [7]
    shell.refused("servers", "list", "--state", "colour", code=2)
