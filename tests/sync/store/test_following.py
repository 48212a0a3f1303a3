"""An application that follows what changed misses nothing, in whatever order transactions end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from panel.db import Database, make_engine
from panel.errors import Invalid
from panel.models.records import ChangeSequence
from panel.sync.store import change_feed, records
from panel.sync.store.records import Write

pytestmark = pytest.mark.both_databases

OWN = 7


def put(database: Database, *record_ids: str) -> None:
    for record_id in record_ids:
        with database.writing() as session:
            number = records.write_records(
                session, OWN, [Write("item", record_id, {"id": record_id})]
            )
            assert number == 1


def follow(database: Database, since: str = "", limit: int = 500) -> tuple[list[str], str, bool]:
    with database.reading() as session:
        page = change_feed.changes(session, since, limit)
        return [record.record_id for record in page.records], page.cursor, page.more


def test_pages_follow_each_other_and_the_end_is_known(database: Database) -> None:
    put(database, "a", "b", "c")
    assert follow(database, "", 2)[0] == ["a", "b"]
    _, cursor, more = follow(database, "", 2)
    assert more
    ids, cursor, more = follow(database, cursor, 2)
    assert (ids, more) == (["c"], False)
    assert follow(database, cursor) == ([], cursor, False)
    with database.writing() as session:
        records.delete_record(session, OWN, "item", "a")
    ids, cursor, more = follow(database, cursor)
    assert (ids, more) == (["a"], False)


@pytest.mark.parametrize(
    "cursor", ["?", "W10", "WzEsMiwzLDRd", "bm9uZQ", "WyJhIiwtMSwwXQ", "é", "W1tb" * 9_000]
)
def test_a_cursor_that_was_never_given_out_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Invalid):
        follow(database, cursor)


def test_a_cursor_of_another_past_ends(database: Database) -> None:
    put(database, "a", "b")
    _, cursor, _ = follow(database)
    with database.writing() as session:
        session.execute(update(ChangeSequence).values(generation="another"))
    with pytest.raises(change_feed.CursorEnded):
        follow(database, cursor)


def test_a_cursor_from_before_what_was_purged_ends_but_a_first_reading_goes_on(
    database: Database,
) -> None:
    put(database, "a", "b", "c", "d")
    _, old, _ = follow(database, "", 1)
    with database.writing() as session:
        session.execute(update(ChangeSequence).values(purged_seq=3))
    with pytest.raises(change_feed.CursorEnded):
        follow(database, old)
    _, cursor, _ = follow(database, "", 1)
    assert follow(database, cursor)[0] == ["b", "c", "d"]


def test_a_page_is_cut_by_bytes_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    put(database, "a", "b", "c")
    monkeypatch.setattr(change_feed, "LARGEST_BATCH_BYTES", 250)
    assert follow(database)[0] == ["a", "b"]


def test_a_reader_skips_nothing_of_a_transaction_that_commits_late(database: Database) -> None:
    """The interleaving that a serial column gets wrong: a later number is visible first."""
    put(database, "before")
    has_written, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with database.writing() as session:
            records.write_records(session, OWN, [Write("item", "slow", {})])
            has_written.set()
            assert may_commit.wait(30)

    with ThreadPoolExecutor() as threads:
        slow = threads.submit(write_slowly)
        assert has_written.wait(30)
        quick = threads.submit(put, database, "quick")
        # Nobody waits to read, and what is read is a beginning of the sequence.
        ids, cursor, _ = follow(database)
        assert ids == ["before"]
        may_commit.set()
        slow.result(30)
        quick.result(30)
    assert follow(database, cursor)[0] == ["slow", "quick"]


def test_many_writers_at_once_are_all_followed(database: Database) -> None:
    other = Database(make_engine(database.engine.url.render_as_string(hide_password=False)))
    names = [[f"{writer}-{number}" for number in range(15)] for writer in range(4)]
    seen: list[str] = []
    cursor = ""
    with ThreadPoolExecutor() as threads:
        writing = [threads.submit(put, database, *ids) for ids in names]
        while not all(writer.done() for writer in writing):
            ids, cursor, _ = follow(other, cursor)
            seen += ids
        for writer in writing:
            writer.result()
    seen += follow(other, cursor)[0]
    other.close()
    assert sorted(seen) == sorted(name for ids in names for name in ids)
