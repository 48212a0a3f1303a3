"""The sync time interval: who may set it to what, and two people at once."""

import pytest

from panel.activity.log import Actor, EventKind, search
from panel.db import Database
from panel.errors import Conflict, Invalid
from panel.models.settings import Settings
from panel.preferences.interval import set_interval
from panel.security.vault import Vault
from tests.support.cast import SATELLITE
from tests.support.steps import at_once, become, become_standalone, doing, happened


@pytest.fixture
def satellite(database: Database, vault: Vault) -> Database:
    become(database, vault, SATELLITE)
    return database


@pytest.mark.parametrize("minutes", [0, 1, 10_080])
def test_a_whole_number_of_minutes_is_saved(satellite: Database, asha: Actor, minutes: int) -> None:
    with satellite.writing() as session:
        set_interval(session, asha, minutes, 1)
    with satellite.reading() as session:
        assert session.get_one(Settings, 1).interval_minutes == minutes
        row = search(session)[0]
    assert (row.person, row.address, row.what) == ("Asha", "192.0.2.7", EventKind.INTERVAL_CHANGED)
    assert (row.was, row.became) == ({"interval_minutes": 10}, {"interval_minutes": minutes})


@pytest.mark.parametrize("minutes", [-1, 10_081, 2**40])
def test_other_numbers_are_refused_beside_their_field(
    satellite: Database, asha: Actor, minutes: int
) -> None:
    with pytest.raises(Invalid) as refused, satellite.writing() as session:
        set_interval(session, asha, minutes, 1)
    assert "10080" in str(refused.value.problems["interval_minutes"])
    assert happened(satellite, EventKind.INTERVAL_CHANGED) == 0


def test_a_server_without_a_sync_id_has_no_interval(
    database: Database, vault: Vault, asha: Actor
) -> None:
    become_standalone(database, vault)
    with pytest.raises(Invalid) as refused, database.writing() as session:
        set_interval(session, asha, 5, 1)
    assert "Sync ID" in str(refused.value.problems["interval_minutes"])


@pytest.mark.both_databases
def test_of_two_at_once_the_second_hears_who_changed_what(
    satellite: Database, asha: Actor, ben: Actor
) -> None:
    done, refused = at_once(
        doing(satellite, lambda session: set_interval(session, asha, 20, 1)),
        doing(satellite, lambda session: set_interval(session, ben, 30, 1)),
    )
    assert len(done) == 1
    (conflict,) = refused
    assert isinstance(conflict, Conflict)
    saved = done[0].settings.interval_minutes
    (difference,) = conflict.differences
    assert (difference.field, difference.was, difference.became) == ("interval_minutes", 10, saved)
    assert difference.person == ("Asha" if saved == 20 else "Ben")
    assert happened(satellite, EventKind.INTERVAL_CHANGED) == 1


def test_the_second_may_choose_to_save_on_top(satellite: Database, asha: Actor, ben: Actor) -> None:
    with satellite.writing() as session:
        set_interval(session, asha, 20, 1)
    with pytest.raises(Conflict) as refused, satellite.writing() as session:
        set_interval(session, ben, 30, 1)
    with satellite.writing() as session:
        assert set_interval(session, ben, 30, refused.value.version).settings.interval_minutes == 30


def test_the_same_form_sent_twice_is_saved_once(satellite: Database, asha: Actor) -> None:
    for _ in range(2):
        with satellite.writing() as session:
            set_interval(session, asha, 20, 1)
    assert happened(satellite, EventKind.INTERVAL_CHANGED) == 1


def test_an_interval_does_not_disturb_who_edits_the_parameters(
    satellite: Database, asha: Actor
) -> None:
    with satellite.writing() as session:
        before = session.get_one(Settings, 1).parameters_version
        assert set_interval(session, asha, 20, 1).settings.parameters_version == before
