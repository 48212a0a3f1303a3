"""What is noted of a push while an application writes the same records."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select, text, update

from panel.db import Database, make_engine
from panel.models.records import Record
from panel.sync.satellite.push import note_pushed
from panel.sync.store.records import Write, write_records
from panel.sync.store.sequence import lock_sequence
from tests.conftest import NewDatabase
from tests.support.real_site import wait_until

OWN = 7


def test_an_application_and_a_push_do_not_wait_for_each_other(new_postgresql: NewDatabase) -> None:
    """Each has a record that the other wants next: PostgreSQL would end one of them."""
    database = Database(make_engine(new_postgresql(True)))
    with database.writing() as session:
        write_records(session, OWN, [Write("item", one, {}) for one in "ab"])
    with database.reading() as session:
        seqs = session.scalars(select(Record.seq).order_by(Record.seq)).all()

    def push() -> None:
        with database.writing() as session:
            note_pushed(session, seqs)

    def is_waiting() -> bool:
        query = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with database.reading() as session:
            return bool(session.scalar(query))

    with ThreadPoolExecutor() as others, database.writing() as application:
        lock_sequence(application)
        changes = [update(Record).where(Record.seq == seq).values(size=9) for seq in reversed(seqs)]
        application.execute(changes[0])
        pushing = others.submit(push)
        wait_until(is_waiting, "the push that waits")
        application.execute(changes[1])
        application.commit()
        pushing.result()
    with database.reading() as session:
        assert session.scalars(select(Record.waiting)).all() == [False, False]
    database.close()
