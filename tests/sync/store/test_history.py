"""The history of the sequence: no number is used twice, whatever backup is restored."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from panel.config import Config
from panel.db import Database
from panel.installation import Installation, open_installation
from panel.models.people import Activity
from panel.models.records import ChangeSequence, Generation, HistoryReason
from panel.sync.store import change_feed, records
from panel.sync.store.records import Write
from panel.sync.store.sequence import MARGIN, Mark, Witness, begin_generation
from tests.conftest import NewDatabase
from tests.support.cast import SECRET_KEY
from tests.support.installations import back_up, restore

pytestmark = pytest.mark.both_databases


def put(database: Database, *record_ids: str) -> None:
    for record_id in record_ids:
        with database.writing() as session:
            records.write_records(session, 7, [Write("item", record_id, {"id": record_id})])


def count(database: Database) -> int:
    with database.reading() as session:
        return session.get_one(ChangeSequence, 1).seq


def history(database: Database) -> list[Generation]:
    with database.reading() as session:
        return list(session.scalars(select(Generation).order_by(Generation.first_seq)))


def found(database: Database) -> list[str]:
    """Return what Activity says that the server found out by itself."""
    with database.reading() as session:
        return list(session.scalars(select(Activity.what).where(Activity.via == "sync")))


def follow(database: Database, since: str = "") -> tuple[list[str], str]:
    with database.reading() as session:
        page = change_feed.changes(session, since)
        return [record.record_id for record in page.records], page.cursor


class Server:
    """An installation that is started again and again, and a backup of its database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._url, self._backup = url, ""
        self._config = Config(folder, url, (SECRET_KEY,), hardware_id="machine-7")

    def start(self) -> Installation:
        return open_installation(self._config)

    def back_up(self) -> None:
        self._backup = back_up(self._url)

    def restore(self) -> None:
        restore(self._url, self._backup)


@pytest.fixture
def server(new_database: NewDatabase, tmp_path: Path) -> Server:
    return Server(new_database(True), tmp_path)


def test_a_start_after_a_kill_goes_on_in_the_same_generation(server: Server) -> None:
    with closing(server.start()) as here:
        put(here.database, "a", "b")
        with here.database.reading() as session:
            present = session.get_one(ChangeSequence, 1).generation
    assert Witness(server.folder).read() == Mark(present, 2)
    with closing(server.start()) as here:
        put(here.database, "c")
        assert count(here.database) == 3
        assert [one.reason for one in history(here.database)] == ["made"]
        assert found(here.database) == []


def test_a_restored_database_uses_no_number_twice(server: Server) -> None:
    with closing(server.start()) as here:
        put(here.database, "a", "b")
        _, early = follow(here.database)
    server.back_up()
    with closing(server.start()) as here:
        put(here.database, "c", "d", "e")
        _, late = follow(here.database)
    server.restore()
    with closing(server.start()) as here:
        assert found(here.database) == ["restore_found"]
        made, restored = history(here.database)
        assert (made.first_seq, made.last_seq) == (1, 2)
        assert restored.reason in ("restored", "timeline")
        assert restored.first_seq > 5 + MARGIN
        put(here.database, "f", "g", "h", "i")
        # One that stopped before the backup goes on; one that read what was lost begins anew.
        assert follow(here.database, early)[0] == ["f", "g", "h", "i"]
        with pytest.raises(change_feed.CursorEnded):
            follow(here.database, late)


def test_restored_twice_from_one_backup_is_noticed_twice(server: Server) -> None:
    with closing(server.start()) as here:
        put(here.database, "a")
    server.back_up()
    firsts = []
    for _ in range(2):
        with closing(server.start()) as here:
            put(here.database, "lost")
        server.restore()
        with closing(server.start()) as here:
            firsts.append(history(here.database)[-1].first_seq)
            _, cursor = follow(here.database)
        # Nothing was written, yet the generation of the first time is not known to the second.
    assert firsts[1] > firsts[0] + MARGIN
    with closing(server.start()) as here:
        assert follow(here.database, cursor)[0] == []


def test_a_lost_or_damaged_witness_is_made_again(server: Server) -> None:
    with closing(server.start()) as here:
        put(here.database, "a")
        present = history(here.database)[0].generation
    for damage in (b"", b"\0" * 33, b"half a ma"):
        (server.folder / "witness").write_bytes(damage)
        with closing(server.start()) as here:
            assert len(history(here.database)) == 1
        assert Witness(server.folder).read() == Mark(present, 1)


def test_the_witness_is_not_lowered_within_a_generation(tmp_path: Path) -> None:
    # Two processes: the first to commit is the last to note it.
    one, other = Witness(tmp_path), Witness(tmp_path)
    other.note(Mark("past", 11))
    one.note(Mark("past", 10))
    assert one.read() == Mark("past", 11)
    one.note(Mark("present", 4))
    assert other.read() == Mark("present", 4)


def test_a_commit_stands_though_the_witness_cannot_be_written(server: Server) -> None:
    with closing(server.start()) as here:
        (server.folder / "witness").unlink()
        (server.folder / "witness").mkdir()
        put(here.database, "a")
        assert count(here.database) == 1


def test_by_hand(server: Server) -> None:
    with closing(server.start()) as here:
        put(here.database, "a")
        _, cursor = follow(here.database)
        with here.database.writing() as session:
            begin_generation(session, HistoryReason.BY_HAND)
        put(here.database, "b")
        assert follow(here.database, cursor)[0] == ["b"]
    with closing(server.start()) as here:
        assert [one.reason for one in history(here.database)] == ["made", "by_hand"]


def test_a_database_in_another_cluster_or_timeline_is_noticed(
    new_postgresql: NewDatabase, tmp_path: Path
) -> None:
    server = Server(new_postgresql(True), tmp_path)
    with closing(server.start()) as here:
        put(here.database, "a")
    for noted in ({"cluster": "another:1"}, {"timeline": "000000FF"}):
        (tmp_path / "witness").unlink()
        with closing(server.start()) as here, here.database.writing() as session:
            session.execute(update(Generation).where(Generation.last_seq.is_(None)).values(noted))
        with closing(server.start()) as here:
            newest = history(here.database)[-1]
            assert newest.reason == "timeline"
            assert None not in (newest.cluster, newest.timeline)
    with closing(server.start()) as here:
        assert len(history(here.database)) == 3
