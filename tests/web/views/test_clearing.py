"""What is only ever cleared in a row: the machine bound to it, its own pair."""

import pytest

from panel.config import Config
from panel.db import Database
from panel.models.settings import Server
from tests.support.cast import CODE
from tests.support.web_sites import make_primary
from tests.web.conftest import Browser, Happened

either = pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])


@pytest.fixture(autouse=True)
def row(database: Database, config: Config) -> int:
    """A row with a machine bound to it and a pair of its own."""
    row = make_primary(database, config)[0]
    with database.writing() as session:
        server = session.get_one(Server, row)
        server.hardware_id, server.device_token_hash = "4da4f9fc00112233", "t" * 64
        server.user_name = server.user_name_key = "kadavu"
        server.password_hash = "not a real one"
    return row


def server(database: Database, row: int) -> Server:
    with database.reading() as session:
        return session.get_one(Server, row)


@pytest.mark.parametrize(
    ("act", "question", "field"),
    [
        ("hardware/clear", "Clear the Hardware ID of Kadavu?", "hardware_id"),
        ("password/remove", "Remove the User name and Password of Kadavu?", "password_hash"),
    ],
)
@either
def test_it_asks_first_and_then_clears(
    unlocked: Browser,
    database: Database,
    row: int,
    act: str,
    question: str,
    field: str,
    htmx: bool,
) -> None:
    address = f"/servers/{row}/{act}"
    asked = unlocked.post(address, {"version": "1"}, htmx=htmx)
    assert question in asked.text
    assert ("<html" in asked.text) != htmx
    assert getattr(server(database, row), field)
    assert question not in unlocked.get(address, htmx=htmx).text
    done = unlocked.post(address, {"version": "1", "confirmed": "1"}, htmx=htmx)
    assert getattr(server(database, row), field) is None
    if htmx:
        # The row's fields stay as they are, with the version they go on from.
        assert 'name="name"' not in done.text
        assert f'id="v{row}" name="version" value="2" hx-swap-oob="true"' in done.text
    else:
        assert done.headers["Location"] == f"/servers/{row}/edit"


def test_clearing_the_machine_ends_its_token(
    unlocked: Browser, database: Database, row: int, happened: Happened
) -> None:
    unlocked.post(f"/servers/{row}/hardware/clear", {"version": "1", "confirmed": "1"})
    assert server(database, row).device_token_hash is None
    assert happened("hardware_cleared")


@either
def test_a_row_that_changed_meanwhile_is_not_cleared_unseen(
    unlocked: Browser, database: Database, row: int, htmx: bool
) -> None:
    sent = {"sync_id": "7", "name": "Vunisea", "store": "KDV-01", "user_name": "kadavu"}
    unlocked.post(f"/servers/{row}", {**sent, "version": "1"})
    confirmed = {"version": "1", "confirmed": "1"}
    answer = unlocked.post(f"/servers/{row}/hardware/clear", confirmed, htmx=htmx)
    assert answer.status_code == 409
    # Beside the row alone, and not beside the shared password too.
    assert answer.text.count("Somebody changed this while you were typing.") == 1
    assert server(database, row).hardware_id


@either
def test_while_locked_it_asks_for_the_code(
    manager: Browser, database: Database, row: int, htmx: bool
) -> None:
    sent = {"version": "1", "confirmed": "1"}
    asked = manager.post(f"/servers/{row}/hardware/clear", sent, htmx=htmx)
    assert asked.status_code == 403
    assert 'name="authorisation_code"' in asked.text
    assert server(database, row).hardware_id
    code = {**sent, "authorisation_code": CODE}
    manager.post(f"/servers/{row}/hardware/clear", code, htmx=htmx)
    assert server(database, row).hardware_id is None
