"""The synchronise parameters: what they may be, what has to be confirmed, two people at once."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import pytest

from panel.activity.log import SECRET, Actor, EventKind, search
from panel.db import Database
from panel.errors import Conflict, Invalid, NeedsConfirmation
from panel.models.records import Record
from panel.models.runs import PASSWORD_UNREADABLE, Loop, Run
from panel.models.settings import Settings
from panel.preferences.parameter_table import Parameters
from panel.preferences.parameters import clear_url, save_parameters
from panel.preferences.servers import edit_server, remove_servers
from panel.security.vault import Vault
from tests.support.cast import KADAVU, LEVUKA, NATIONAL, PRIMARY, SATELLITE
from tests.support.clock import Clock
from tests.support.steps import add, at_once, become, become_standalone, doing, happened


class Site:
    """One server and the person who edits its parameters."""

    def __init__(self, database: Database, vault: Vault, person: Actor) -> None:
        self.database, self.vault, self.person = database, vault, person

    def save(self, wanted: Parameters, confirmed: Collection[str] = ()) -> Settings:
        with self.database.writing() as session:
            version = session.get_one(Settings, 1).parameters_version
            return save_parameters(session, self.person, self.vault, wanted, version, confirmed)

    def problems(self, wanted: Parameters) -> dict[str, str]:
        before = self.settings()
        with pytest.raises(Invalid) as refused:
            self.save(wanted)
        assert self.settings().parameters_version == before.parameters_version
        return {field: str(reason) for field, reason in refused.value.problems.items()}

    def acts(self, wanted: Parameters) -> list[str]:
        with pytest.raises(NeedsConfirmation) as refused:
            self.save(wanted)
        assert all(str(warning) for warning in refused.value.acts.values())
        return sorted(refused.value.acts)

    def settings(self) -> Settings:
        with self.database.reading() as session:
            return session.get_one(Settings, 1)

    def synchronised(self, moment: datetime) -> None:
        with self.database.writing() as session:
            session.add(Run(other=1, started_at=moment, ended_at=moment, result="well"))


@pytest.fixture
def site(database: Database, vault: Vault, asha: Actor) -> Site:
    return Site(database, vault, asha)


@pytest.mark.both_databases
def test_what_is_typed_is_saved_tidied_and_noted(site: Site) -> None:
    site.save(SATELLITE.replace(name="  Kadavu  ", url="Central.Example/", request_size=10))
    saved = site.settings()
    assert (saved.sync_id, saved.name, saved.url) == (7, "Kadavu", "https://central.example")
    assert saved.request_size == 10
    with site.database.reading() as session:
        (row,) = search(session)
    assert row.what == EventKind.PARAMETERS_CHANGED
    assert row.became == {
        "sync_id": 7,
        "name": "Kadavu",
        "store": "KDV-01",
        "user_name": "kadavu",
        "url": "https://central.example",
        "request_size": 10,
        "password": SECRET,
    }


def test_the_password_is_in_no_column_and_no_activity(site: Site) -> None:
    site.save(SATELLITE)
    site.save(SATELLITE.replace(password="another word"))
    with site.database.reading() as session:
        texts = [repr(vars(site.settings())), *(repr(vars(row)) for row in search(session))]
    assert not [text for text in texts if "a shared word" in text or "another word" in text]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("a", "At least 10 characters."),
        ("password123", "Many use this one."),
        ("Country 2026", "It is little more than the name."),
    ],
)
def test_a_primary_takes_no_shared_password_that_is_easy_to_guess(
    site: Site, password: str, reason: str
) -> None:
    wanted = PRIMARY.replace(password=password)
    assert reason in site.problems(wanted)["password"]


def test_a_satellite_takes_what_its_primary_has_once_it_is_confirmed(site: Site) -> None:
    wanted = SATELLITE.replace(password="a")
    assert site.acts(wanted) == ["weak_password"]
    assert site.save(wanted, ["weak_password"]).has_password
    # What is saved already is not typed anew.
    site.save(wanted.replace(name="Kadavu Hospital"))


def test_every_bad_value_gets_its_reason_at_once(site: Site) -> None:
    problems = site.problems(
        Parameters(
            sync_id=0,
            name="a" * 81,
            store="two\nlines",
            user_name="tab\there",
            password="end of line\n",
            url="https://me:secret@central.example",
            request_size=9,
            protocol="v6",
            private_ca="no certificate",
            fingerprint="12:34",
        )
    )
    assert problems.keys() == {
        "sync_id", "name", "store", "user_name", "password", "url",
        "request_size", "protocol", "private_ca", "fingerprint",
    }  # fmt: skip
    assert "80" in problems["name"]
    assert "2147483647" in problems["sync_id"]


@pytest.mark.parametrize("sync_id", [1, 2, 2_147_483_647, None])
def test_a_sync_id_is_a_positive_number_or_empty(site: Site, sync_id: int | None) -> None:
    assert site.save(PRIMARY.replace(sync_id=sync_id)).sync_id == sync_id


@pytest.mark.parametrize("sync_id", [0, -1, 2_147_483_648, 2**70])
def test_a_sync_id_outside_its_range_is_refused(site: Site, sync_id: int) -> None:
    assert site.problems(SATELLITE.replace(sync_id=sync_id)).keys() == {"sync_id"}


@pytest.mark.parametrize("size", [10, 5_000, None])
def test_a_request_size_is_automatic_or_in_its_range(site: Site, size: int | None) -> None:
    assert site.save(SATELLITE.replace(request_size=size)).request_size == size


@pytest.mark.parametrize("size", [0, 9, 5_001, -10])
def test_a_request_size_outside_its_range_is_refused(site: Site, size: int) -> None:
    assert site.problems(SATELLITE.replace(request_size=size)).keys() == {"request_size"}


def test_a_fingerprint_may_be_typed_as_tools_print_it(site: Site) -> None:
    printed = ":".join(["AB"] * 32)
    assert site.save(SATELLITE.replace(fingerprint=f" {printed} ")).fingerprint == "ab" * 32


# --- roles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Proxy.example.org:3128/ ", "http://proxy.example.org:3128"),
        ("https://proxy.example.org:443", "https://proxy.example.org"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("", ""),
    ],
)
def test_a_proxy_is_a_host_and_a_port(site: Site, typed: str, kept: str) -> None:
    assert site.save(SATELLITE.replace(proxy=typed)).proxy == kept


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("socks5://proxy:1080", "A URL begins with https:// or http://."),
        ("proxy:3128/way", "A proxy has a host and a port, and no path."),
        (
            "http://me:letters@proxy",
            "No user name or password here: they have fields of their own.",
        ),
        ("proxy:70000", "This is no URL or address, such as https://central.example.org."),
    ],
)
def test_what_is_no_proxy_is_refused(site: Site, typed: str, reason: str) -> None:
    assert site.problems(SATELLITE.replace(proxy=typed)) == {"proxy": reason}


def test_no_server_of_the_list_has_this_servers_sync_id(site: Site) -> None:
    site.save(SATELLITE)
    add(site.database, NATIONAL)
    assert "1 National Store" in site.problems(PRIMARY)["sync_id"]


def test_a_primary_with_satellites_cannot_become_one(site: Site) -> None:
    site.save(PRIMARY)
    add(site.database, KADAVU)
    assert "primary only" in site.problems(SATELLITE.replace(sync_id=9))["sync_id"]


def test_removed_rows_stand_in_nobodys_way(site: Site) -> None:
    site.save(PRIMARY)
    (row,) = add(site.database, KADAVU)
    with site.database.writing() as session:
        remove_servers(session, site.person, [row.id])
    assert site.save(SATELLITE).sync_id == 7


def test_the_shared_user_name_is_no_rows_own(site: Site) -> None:
    site.save(PRIMARY)
    add(site.database, replace(KADAVU, user_name="kadavu", password="its own word"))
    assert "7 Kadavu" in site.problems(PRIMARY.replace(user_name="Kadavu"))["user_name"]


# --- what must be confirmed -----------------------------------------------------------------------


def test_the_first_sync_id_and_a_change_before_any_sync_ask_nothing(site: Site) -> None:
    site.save(SATELLITE)
    site.save(SATELLITE.replace(sync_id=9))


def test_another_sync_id_after_a_run_is_confirmed_first(site: Site, time: Clock) -> None:
    site.save(SATELLITE)
    site.synchronised(time.now)
    wanted = SATELLITE.replace(sync_id=9)
    assert site.acts(wanted) == ["sync_id"]
    assert site.settings().sync_id == 7
    assert site.save(wanted, {"sync_id"}).sync_id == 9


def test_another_sync_id_with_records_is_confirmed_first(site: Site, time: Clock) -> None:
    site.save(SATELLITE)
    with site.database.writing() as session:
        session.add(
            Record(
                table_name="item", record_id="1", owner=7, version=1, seq=1,
                data="{}", changed_at=time.now,
            )
        )  # fmt: skip
    assert site.acts(SATELLITE.replace(sync_id=None)) == ["sync_id"]


def test_http_to_a_public_address_is_confirmed_once(site: Site) -> None:
    wanted = SATELLITE.replace(url="http://central.example")
    assert site.acts(wanted) == ["url_http"]
    site.save(wanted, {"url_http"})
    site.save(wanted.replace(name="Another name"))


def test_http_next_door_asks_nothing(site: Site) -> None:
    assert site.save(SATELLITE.replace(url="http://10.0.0.1")).url == "http://10.0.0.1"


def test_a_url_on_the_primary_is_confirmed_and_no_other_warning_given(site: Site) -> None:
    wanted = PRIMARY.replace(url="http://central.example")
    assert site.acts(wanted) == ["url_on_primary"]
    site.save(wanted, {"url_on_primary"})


def test_a_satellite_with_a_url_that_becomes_the_primary_is_told(site: Site) -> None:
    site.save(SATELLITE)
    assert site.acts(SATELLITE.replace(sync_id=1)) == ["url_on_primary"]


def test_an_http_url_left_from_the_primary_is_confirmed_on_the_satellite(site: Site) -> None:
    url = "http://central.example"
    site.save(PRIMARY.replace(url=url), {"url_on_primary"})
    assert site.acts(SATELLITE.replace(url=url)) == ["url_http"]


def test_all_that_is_serious_is_asked_at_once(site: Site, time: Clock) -> None:
    site.save(SATELLITE)
    site.synchronised(time.now)
    wanted = SATELLITE.replace(sync_id=9, url="http://central.example")
    assert site.acts(wanted) == ["sync_id", "url_http"]
    with pytest.raises(NeedsConfirmation) as refused:
        site.save(wanted, {"sync_id"})
    assert list(refused.value.acts) == ["url_http"]


# --- two people, and one who sends twice ----------------------------------------------------------


@pytest.mark.both_databases
def test_of_two_at_once_the_second_hears_who_changed_what(
    site: Site, vault: Vault, asha: Actor, ben: Actor
) -> None:
    version = site.save(SATELLITE).parameters_version
    by_asha = SATELLITE.replace(name="Asha's name", password="a new word")
    by_ben = SATELLITE.replace(name="Ben's name", password="a newer word")
    done, refused = at_once(
        doing(site.database, lambda s: save_parameters(s, asha, vault, by_asha, version)),
        doing(site.database, lambda s: save_parameters(s, ben, vault, by_ben, version)),
    )
    (settings,), (conflict,) = done, refused
    assert isinstance(conflict, Conflict)
    assert conflict.version == settings.parameters_version
    told = {difference.field: difference for difference in conflict.differences}
    assert told["name"].was == "Kadavu Health Centre"
    assert told["name"].became == settings.name == f"{told['name'].person}'s name"
    assert (told["password"].was, told["password"].became) == (SECRET, SECRET)


def test_the_same_form_sent_twice_is_saved_once(site: Site, vault: Vault, asha: Actor) -> None:
    for _ in range(2):
        with site.database.writing() as session:
            save_parameters(session, asha, vault, SATELLITE, 1)
    assert happened(site.database, EventKind.PARAMETERS_CHANGED) == 1


def test_a_stale_form_is_told_so_even_where_it_would_be_wrong_now(site: Site, asha: Actor) -> None:
    site.save(PRIMARY)
    add(site.database, KADAVU)
    with pytest.raises(Conflict), site.database.writing() as session:
        save_parameters(session, asha, site.vault, SATELLITE, 1)


# --- clearing the URL -----------------------------------------------------------------------------


def test_clear_empties_the_url_and_leaves_the_rest(site: Site) -> None:
    before = site.save(SATELLITE)
    with site.database.writing() as session:
        clear_url(session, site.person, before.parameters_version)
    saved = site.settings()
    assert (saved.url, saved.name, saved.has_password) == ("", "Kadavu Health Centre", True)
    with site.database.reading() as session:
        row = search(session)[0]
    assert (row.what, row.was) == (EventKind.URL_CLEARED, {"url": "https://central.example"})


def test_clear_twice_is_clear_once(site: Site) -> None:
    version = site.save(SATELLITE).parameters_version
    for _ in range(2):
        with site.database.writing() as session:
            clear_url(session, site.person, version)
    assert happened(site.database, EventKind.URL_CLEARED) == 1


def test_a_url_that_somebody_just_changed_is_not_cleared_unseen(site: Site) -> None:
    version = site.save(SATELLITE).parameters_version
    site.save(SATELLITE.replace(url="https://other.example"))
    with pytest.raises(Conflict), site.database.writing() as session:
        clear_url(session, site.person, version)
    assert site.settings().url == "https://other.example"


def test_standing_alone_needs_nothing(database: Database, vault: Vault) -> None:
    assert become_standalone(database, vault).sync_id is None


def test_the_list_keeps_its_rows_while_the_server_stands_alone(
    database: Database, vault: Vault
) -> None:
    become(database, vault, PRIMARY)
    add(database, KADAVU, LEVUKA)
    become_standalone(database, vault)
    assert become(database, vault, PRIMARY).is_primary


def refused(database: Database, moment: datetime, reason: str = "site_incorrect_password") -> None:
    """Let the last run be refused."""
    with database.writing() as session:
        loop = session.get_one(Loop, 1)
        loop.started_at, loop.refusal = moment, reason


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"password": "shells and corals"}, ""),
        ({"url": "https://stores.example.org"}, ""),
        ({"name": "Kadavu Hospital"}, ""),
        ({"contact": "Help desk"}, "site_incorrect_password"),
    ],
)
def test_a_correction_is_tried_at_once_and_the_old_refusal_is_forgotten(
    site: Site, time: Clock, changed: dict[str, str], left: str
) -> None:
    site.save(SATELLITE)
    refused(site.database, time())
    site.save(SATELLITE.replace(**changed))
    with site.database.reading() as session:
        loop = session.get_one(Loop, 1)
        assert loop.refusal == left
        assert (loop.asked_at is None) == bool(left)


@pytest.mark.parametrize(
    ("changed", "left"),
    [({"name": "Kadavu Hospital"}, PASSWORD_UNREADABLE), ({"password": "shells and corals"}, "")],
)
def test_a_lost_key_is_told_until_there_is_a_new_password(
    site: Site, time: Clock, changed: dict[str, str], left: str
) -> None:
    site.save(SATELLITE)
    refused(site.database, time(), PASSWORD_UNREADABLE)
    site.save(SATELLITE.replace(**changed))
    with site.database.reading() as session:
        loop = session.get_one(Loop, 1)
        assert loop.refusal == left
        assert (loop.asked_at is None) == bool(left)


def test_the_primary_in_the_list_is_tried_at_once_too(site: Site, time: Clock) -> None:
    site.save(SATELLITE)
    (server,) = add(site.database, NATIONAL)
    refused(site.database, time())
    with site.database.writing() as session:
        fields = replace(NATIONAL, store="NAT-02")
        edit_server(session, site.person, server.id, fields, server.version)
    with site.database.reading() as session:
        loop = session.get_one(Loop, 1)
        assert (loop.refusal, loop.asked_at) == ("", time())


def test_a_paused_satellite_tries_nothing(site: Site, time: Clock) -> None:
    site.save(SATELLITE)
    refused(site.database, time())
    with site.database.writing() as session:
        session.get_one(Settings, 1).interval_minutes = 0
    site.save(SATELLITE.replace(password="shells and corals"))
    with site.database.reading() as session:
        assert session.get_one(Loop, 1).asked_at is None
