"""The servers of the list: added, changed, removed, put back, cleared; and many people at once."""

from dataclasses import replace

import pytest

from panel.activity.log import SECRET, Actor, EventKind, search
from panel.db import Database
from panel.errors import Conflict, Invalid, NeedsConfirmation, NotFound
from panel.models.settings import Server, Settings
from panel.preferences.parameters import clear_url
from panel.preferences.server_changes import clear_hardware, clear_server_password, clear_server_url
from panel.preferences.server_fields import ServerFields
from panel.preferences.server_list import Look, list_servers
from panel.preferences.servers import add_server, edit_server, remove_servers, restore_servers
from panel.preferences.shared_password import wire_password
from panel.security.hashes import verify_secret
from panel.security.vault import Vault
from tests.support.cast import KADAVU, LEVUKA, NATIONAL, PRIMARY, SATELLITE
from tests.support.steps import add, at_once, become, become_standalone, doing, happened

OWN_PAIR = replace(KADAVU, user_name="kadavu", password="its own word")


@pytest.fixture
def primary(database: Database, vault: Vault) -> Database:
    become(database, vault, PRIMARY)
    return database


@pytest.fixture
def satellite(database: Database, vault: Vault) -> Database:
    become(database, vault, SATELLITE)
    return database


def sync_ids(database: Database) -> list[int]:
    with database.reading() as session:
        return [server.sync_id for server in list_servers(session, Look(sort="sync_id")).rows]


def problems(database: Database, fields: ServerFields) -> dict[str, str]:
    """Return why a row cannot be added, and see that nothing was."""
    before = sync_ids(database)
    with pytest.raises(Invalid) as refused:
        add(database, fields)
    assert sync_ids(database) == before
    return {field: str(reason) for field, reason in refused.value.problems.items()}


# --- adding ---------------------------------------------------------------------------------------


def test_a_row_is_added_tidied_and_noted(primary: Database, asha: Actor) -> None:
    with primary.writing() as session:
        server = add_server(session, asha, ServerFields(7, "  Kadavu ", " KDV-01 "))
    assert (server.sync_id, server.name, server.store) == (7, "Kadavu", "KDV-01")
    with primary.reading() as session:
        row = search(session)[0]
    assert (row.person, row.what, row.label) == ("Asha", EventKind.SERVER_ADDED, "7 Kadavu")
    assert row.became == {"sync_id": 7, "name": "Kadavu", "store": "KDV-01"}


def test_every_bad_value_gets_its_reason_at_once(primary: Database) -> None:
    found = problems(primary, ServerFields(None, " ", "a" * 41, "ftp://a", "\x00", "two\nlines"))
    assert found.keys() == {"sync_id", "name", "store", "url", "user_name", "password"}


@pytest.mark.parametrize("sync_id", [0, -7, 2_147_483_648, 2**80])
def test_a_sync_id_outside_its_range_is_refused(primary: Database, sync_id: int) -> None:
    assert problems(primary, replace(KADAVU, sync_id=sync_id)).keys() == {"sync_id"}


@pytest.mark.both_databases
def test_the_longest_names_fit(primary: Database) -> None:
    # Sharp s counts as two letters where upper and lower case do not matter.
    (server,) = add(primary, ServerFields(2_147_483_647, "ß" * 80, "ß" * 40))
    assert server.name == "ß" * 80


def test_a_sync_id_is_there_once(primary: Database) -> None:
    add(primary, KADAVU)
    assert "7 Kadavu" in problems(primary, replace(LEVUKA, sync_id=7))["sync_id"]


def test_the_primarys_own_sync_id_is_taken(primary: Database) -> None:
    assert "itself" in problems(primary, NATIONAL)["sync_id"]


@pytest.mark.both_databases
def test_of_many_at_once_with_one_sync_id_one_is_added(primary: Database, asha: Actor) -> None:
    send = doing(primary, lambda session: add_server(session, asha, KADAVU))
    done, refused = at_once(send, send, send, send)
    assert len(done) == 1
    assert [type(refusal) for refusal in refused] == [Invalid] * 3
    assert sync_ids(primary) == [7]
    assert happened(primary, EventKind.SERVER_ADDED) == 1


def test_a_form_sent_again_finds_the_row_that_it_made(primary: Database, asha: Actor) -> None:
    with primary.writing() as session:
        first = add_server(session, asha, KADAVU, key="a form's own key " * 9).id
    with primary.writing() as session:
        assert add_server(session, asha, KADAVU, key="a form's own key " * 9).id == first
    assert happened(primary, EventKind.SERVER_ADDED) == 1


def test_a_form_that_says_something_else_by_now_makes_another_row(
    primary: Database, asha: Actor
) -> None:
    with primary.writing() as session:
        add_server(session, asha, KADAVU, key="form")
    with primary.writing() as session:
        assert add_server(session, asha, LEVUKA, key="form").sync_id == 8
    assert sync_ids(primary) == [7, 8]
    renamed = replace(KADAVU, name="Vunisea")
    with pytest.raises(Invalid), primary.writing() as session:
        add_server(session, asha, renamed, key="form")


def test_a_form_whose_row_was_removed_meanwhile_adds_it_again(
    primary: Database, asha: Actor
) -> None:
    with primary.writing() as session:
        first = add_server(session, asha, KADAVU, key="form").id
        remove_servers(session, asha, [first])
    with primary.writing() as session:
        assert add_server(session, asha, KADAVU, key="form").id != first
    assert sync_ids(primary) == [7]


@pytest.mark.both_databases
def test_a_form_sent_twice_at_once_makes_one_row(primary: Database, asha: Actor) -> None:
    send = doing(primary, lambda session: add_server(session, asha, KADAVU, key="form").id)
    done, refused = at_once(send, send, send)
    assert refused == []
    assert len(set(done)) == 1
    assert sync_ids(primary) == [7]


def test_a_stand_alone_server_takes_none(database: Database, vault: Vault) -> None:
    become_standalone(database, vault)
    assert "Sync ID first" in problems(database, KADAVU)["sync_id"]


def test_a_satellite_lists_its_primary_alone(satellite: Database) -> None:
    assert "primary" in problems(satellite, LEVUKA)["sync_id"]
    add(satellite, NATIONAL)
    assert sync_ids(satellite) == [1]
    assert problems(satellite, LEVUKA).keys() == {"sync_id"}
    assert "1 National Store" in problems(satellite, NATIONAL)["sync_id"]


def test_the_url_of_a_satellites_row_is_cleared_by_an_empty_one_only(
    satellite: Database, asha: Actor
) -> None:
    (server,) = add(satellite, NATIONAL)
    edits = [(NATIONAL, "https://central.example"), (replace(NATIONAL, url=""), "")]
    for fields, url in edits:
        with satellite.writing() as session:
            edit_server(session, asha, server.id, fields, server.version)
            assert session.get_one(Settings, 1).url == url
    assert happened(satellite, EventKind.PARAMETERS_CHANGED) == 2


def test_a_satellites_new_row_without_a_url_leaves_that_of_the_parameters(
    satellite: Database,
) -> None:
    add(satellite, replace(NATIONAL, url=""))
    with satellite.reading() as session:
        assert session.get_one(Settings, 1).url == "https://central.example"


# --- a pair of its own ----------------------------------------------------------------------------


def test_a_row_may_have_a_pair_of_its_own(primary: Database) -> None:
    (server,) = add(primary, OWN_PAIR)
    assert server.user_name == "kadavu"
    assert verify_secret(str(server.password_hash), wire_password("its own word"))
    with primary.reading() as session:
        row = search(session)[0]
    assert row.became is not None
    assert row.became["password"] == SECRET
    assert "its own word" not in repr(vars(row)) + repr(vars(server))


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        (replace(KADAVU, user_name="kadavu"), "password"),
        (replace(KADAVU, password="its own word"), "user_name"),
    ],
    ids=["no password", "no user name"],
)
def test_half_a_pair_is_refused(primary: Database, fields: ServerFields, missing: str) -> None:
    assert problems(primary, fields).keys() == {missing}


def test_a_user_name_leads_to_one_server(primary: Database) -> None:
    add(primary, OWN_PAIR)
    same = replace(LEVUKA, user_name="KADAVU", password="another word 2")
    assert "7 Kadavu" in problems(primary, same)["user_name"]
    shared = replace(same, user_name=PRIMARY.user_name)
    assert "shared" in problems(primary, shared)["user_name"]


def test_a_satellites_row_has_no_pair(satellite: Database) -> None:
    found = problems(satellite, replace(NATIONAL, user_name="x", password="its own word"))
    assert found.keys() == {"user_name", "password"}


def test_a_new_name_needs_no_new_password(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, OWN_PAIR)
    with primary.writing() as session:
        wanted = replace(KADAVU, user_name="kdv")
        edited = edit_server(session, asha, server.id, wanted, server.version)
    assert (edited.user_name, edited.password_hash) == ("kdv", server.password_hash)


def test_a_pair_goes_as_a_whole(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, OWN_PAIR)
    with pytest.raises(Invalid), primary.writing() as session:
        edit_server(session, asha, server.id, KADAVU, server.version)
    for _ in range(2):
        with primary.writing() as session:
            cleared = clear_server_password(session, asha, server.id, server.version)
    assert (cleared.user_name, cleared.password_hash) == ("", None)
    assert happened(primary, EventKind.PASSWORD_REMOVED) == 1


# --- URLs -----------------------------------------------------------------------------------------


def test_a_url_in_a_primarys_row_is_confirmed_and_stays_there(
    primary: Database, asha: Actor
) -> None:
    fields = replace(KADAVU, url="kadavu.example")
    with pytest.raises(NeedsConfirmation) as refused, primary.writing() as session:
        add_server(session, asha, fields)
    assert list(refused.value.acts) == ["url_on_primary"]
    with primary.writing() as session:
        server = add_server(session, asha, fields, confirmed=["url_on_primary"])
    assert server.url == "https://kadavu.example"
    with primary.writing() as session:
        renamed = replace(fields, name="Renamed")
        assert edit_server(session, asha, server.id, renamed, server.version).name == "Renamed"


def test_a_primarys_row_is_cleared_of_its_url(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, replace(KADAVU, url="kadavu.example"))
    for _ in range(2):
        with primary.writing() as session:
            assert clear_server_url(session, asha, server.id, server.version).url == ""
    assert happened(primary, EventKind.URL_CLEARED) == 1


def test_a_satellites_url_is_stored_once(satellite: Database) -> None:
    (server,) = add(satellite, replace(NATIONAL, url="other.example"))
    assert server.url == ""
    with satellite.reading() as session:
        assert session.get_one(Settings, 1).url == "https://other.example"
        told = [row for row in search(session) if (row.became or {}).get("url")]
    assert {row.what for row in told} >= {EventKind.PARAMETERS_CHANGED, EventKind.SERVER_ADDED}


def test_a_satellites_row_without_a_url_leaves_the_one_there_is(satellite: Database) -> None:
    add(satellite, NATIONAL)
    with satellite.reading() as session:
        assert session.get_one(Settings, 1).url == "https://central.example"


def test_the_same_warning_is_given_in_a_satellites_row(satellite: Database, asha: Actor) -> None:
    with pytest.raises(NeedsConfirmation) as refused, satellite.writing() as session:
        add_server(session, asha, replace(NATIONAL, url="http://other.example"))
    assert list(refused.value.acts) == ["url_http"]


def test_who_edits_a_satellites_row_hears_of_a_new_url(
    satellite: Database, vault: Vault, asha: Actor
) -> None:
    (server,) = add(satellite, NATIONAL)
    become(satellite, vault, SATELLITE.replace(url="https://moved.example"))
    stale = replace(NATIONAL, name="New name", url="https://central.example")
    with pytest.raises(Conflict) as refused, satellite.writing() as session:
        edit_server(session, asha, server.id, stale, server.version)
    (difference,) = refused.value.differences
    assert (difference.field, difference.became) == ("url", "https://moved.example")


def test_who_edits_the_parameters_hears_of_a_url_typed_in_the_row(
    satellite: Database, asha: Actor
) -> None:
    with satellite.reading() as session:
        version = session.get_one(Settings, 1).parameters_version
    add(satellite, replace(NATIONAL, url="other.example"))
    with pytest.raises(Conflict) as refused, satellite.writing() as session:
        clear_url(session, asha, version)
    assert [difference.field for difference in refused.value.differences] == ["url"]


def test_a_satellites_row_is_cleared_of_the_one_url(satellite: Database, asha: Actor) -> None:
    (server,) = add(satellite, NATIONAL)
    with satellite.writing() as session:
        clear_server_url(session, asha, server.id, server.version)
    with satellite.reading() as session:
        assert session.get_one(Settings, 1).url == ""


# --- editing --------------------------------------------------------------------------------------


def test_a_change_is_saved_and_says_what_was(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    with primary.writing() as session:
        wanted = replace(KADAVU, sync_id=70, name="Kadavu")
        edited = edit_server(session, asha, server.id, wanted, server.version)
    assert (edited.sync_id, edited.version) == (70, server.version + 1)
    with primary.reading() as session:
        row = search(session)[0]
    assert row.was == {"sync_id": 7, "name": "Kadavu Health Centre"}
    assert row.became == {"sync_id": 70, "name": "Kadavu"}


def test_another_rows_sync_id_is_refused_in_an_edit_too(primary: Database, asha: Actor) -> None:
    server, _ = add(primary, KADAVU, LEVUKA)
    with pytest.raises(Invalid) as refused, primary.writing() as session:
        edit_server(session, asha, server.id, replace(KADAVU, sync_id=8), server.version)
    assert "8 Levuka" in str(refused.value.problems["sync_id"])


@pytest.mark.both_databases
def test_of_two_edits_at_once_the_second_hears_who_changed_what(
    primary: Database, asha: Actor, ben: Actor
) -> None:
    (server,) = add(primary, KADAVU)
    by_asha, by_ben = replace(KADAVU, name="Asha's"), replace(KADAVU, name="Ben's", store="B")
    done, refused = at_once(
        doing(primary, lambda s: edit_server(s, asha, server.id, by_asha, server.version)),
        doing(primary, lambda s: edit_server(s, ben, server.id, by_ben, server.version)),
    )
    (saved,), (conflict,) = done, refused
    assert isinstance(conflict, Conflict)
    assert conflict.version == saved.version
    told = {difference.field: difference for difference in conflict.differences}
    assert told["name"].became == saved.name == f"{told['name'].person}'s"
    assert told["name"].was == "Kadavu Health Centre"


@pytest.mark.both_databases
def test_two_edits_at_once_to_one_sync_id_leave_it_with_one(primary: Database, asha: Actor) -> None:
    kadavu, levuka = add(primary, KADAVU, LEVUKA)
    done, refused = at_once(
        doing(primary, lambda s: edit_server(s, asha, kadavu.id, replace(KADAVU, sync_id=9), 1)),
        doing(primary, lambda s: edit_server(s, asha, levuka.id, replace(LEVUKA, sync_id=9), 1)),
    )
    assert (len(done), [type(refusal) for refusal in refused]) == (1, [Invalid])
    assert sync_ids(primary).count(9) == 1


def test_an_edit_sent_twice_is_saved_once(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, OWN_PAIR)
    wanted = replace(OWN_PAIR, name="New", password="a new word")
    for _ in range(2):
        with primary.writing() as session:
            edit_server(session, asha, server.id, wanted, server.version)
    assert happened(primary, EventKind.SERVER_CHANGED) == 1


def test_a_row_that_was_removed_cannot_be_edited(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    with primary.writing() as session:
        remove_servers(session, asha, [server.id])
    for server_id in (server.id, 999):
        with pytest.raises(NotFound), primary.writing() as session:
            edit_server(session, asha, server_id, KADAVU, server.version)


# --- removing and undoing -------------------------------------------------------------------------


@pytest.mark.both_databases
def test_rows_are_removed_and_put_back_as_they_were(primary: Database, asha: Actor) -> None:
    kadavu, levuka = add(primary, OWN_PAIR, LEVUKA)
    ids = [levuka.id, kadavu.id]
    with primary.writing() as session:
        removed = remove_servers(session, asha, ids)
    assert sorted(server.sync_id for server in removed) == [7, 8]
    assert sync_ids(primary) == []
    assert happened(primary, EventKind.SERVER_REMOVED) == 2
    with primary.writing() as session:
        restore_servers(session, asha, ids)
    assert sync_ids(primary) == [7, 8]
    with primary.reading() as session:
        assert session.get_one(Server, kadavu.id).password_hash == kadavu.password_hash
    assert happened(primary, EventKind.SERVER_RESTORED) == 2


def test_removing_and_undoing_twice_is_once(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    for verb, what in (
        (remove_servers, EventKind.SERVER_REMOVED),
        (restore_servers, EventKind.SERVER_RESTORED),
    ):
        for _ in range(2):
            with primary.writing() as session:
                assert [row.id for row in verb(session, asha, [server.id])] == [server.id]
        assert happened(primary, what) == 1


def test_removing_nothing_or_something_unknown_is_refused(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    for ids in ([], [server.id, 999]):
        with pytest.raises(NotFound), primary.writing() as session:
            remove_servers(session, asha, ids)
    assert sync_ids(primary) == [7]


@pytest.mark.both_databases
def test_undo_names_the_row_whose_sync_id_was_taken_and_restores_none(
    primary: Database, asha: Actor
) -> None:
    rows = add(primary, KADAVU, LEVUKA)
    ids = [row.id for row in rows]
    with primary.writing() as session:
        remove_servers(session, asha, ids)
    add(primary, ServerFields(8, "New hospital", "NEW"))
    with pytest.raises(Invalid) as refused, primary.writing() as session:
        restore_servers(session, asha, ids)
    reason = str(refused.value.problems["sync_id"])
    assert "8 Levuka Hospital" in reason
    assert "8 New hospital" in reason
    assert sync_ids(primary) == [8]


def test_undo_does_not_bring_back_a_user_name_that_was_given_away(
    primary: Database, asha: Actor
) -> None:
    (server,) = add(primary, OWN_PAIR)
    with primary.writing() as session:
        remove_servers(session, asha, [server.id])
    add(primary, replace(LEVUKA, user_name="kadavu", password="another word 2"))
    with pytest.raises(Invalid), primary.writing() as session:
        restore_servers(session, asha, [server.id])


@pytest.mark.both_databases
def test_a_removed_rows_sync_id_is_free(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    with primary.writing() as session:
        remove_servers(session, asha, [server.id])
    add(primary, KADAVU)
    assert sync_ids(primary) == [7]


# --- the machine ----------------------------------------------------------------------------------


def test_clearing_the_machine_ends_its_token(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    with primary.writing() as session:
        row = session.get_one(Server, server.id)
        row.hardware_id, row.device_token_hash = "9f2c", "hash"
    for _ in range(2):
        with primary.writing() as session:
            cleared = clear_hardware(session, asha, server.id, server.version)
    assert (cleared.hardware_id, cleared.device_token_hash) == (None, None)
    with primary.reading() as session:
        told = search(session)[0]
    assert (told.what, told.was) == (EventKind.HARDWARE_CLEARED, {"hardware_id": "9f2c"})
    assert happened(primary, EventKind.HARDWARE_CLEARED) == 1


def test_a_machine_is_not_cleared_on_a_stale_page(primary: Database, asha: Actor) -> None:
    (server,) = add(primary, KADAVU)
    with primary.writing() as session:
        session.get_one(Server, server.id).hardware_id = "9f2c"
        edit_server(session, asha, server.id, replace(KADAVU, name="New"), server.version)
    with pytest.raises(Conflict), primary.writing() as session:
        clear_hardware(session, asha, server.id, server.version)


@pytest.mark.parametrize(
    "password", ["short", "password12", "kadavu kadavu", "Kadavu Health Centre"]
)
def test_a_pair_of_its_own_is_not_easy_to_guess(primary: Database, password: str) -> None:
    wanted = replace(KADAVU, user_name="kadavu", password=password)
    assert list(problems(primary, wanted)) == ["password"]
