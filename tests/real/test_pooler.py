"""PgBouncer in transaction mode before PostgreSQL, where it is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from panel.db import Database, is_pooled, make_engine
from panel.migrate import upgrade
from tests.conftest import NewDatabase
from tests.support.processes import free_port

WAIT_SECONDS = 30
# More than the driver's threshold for preparing a statement.
TIMES, SERVERS = 12, 2

POOLER = """
[databases]
{name} = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {servers}
"""


@pytest.fixture
def pooled_url(new_postgresql: NewDatabase) -> Iterator[str]:
    """The URL of a fresh database behind a pooler in transaction mode."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    url, listen = make_url(new_postgresql(False)), free_port()
    with tempfile.TemporaryDirectory(prefix="sync-panel-pooler-") as folder:
        # The pooler gives up root, and the server's socket is for the server's own user.
        Path(folder).chmod(0o755)
        configuration = Path(folder) / "pgbouncer.ini"
        values = {"name": url.database, "user": url.username, "listen": listen, "servers": SERVERS}
        host = url.host or str(url.query["host"])
        configuration.write_text(POOLER.format(host=host, port=url.port or 5432, **values))
        user = ["-u", Path(host).owner()] if os.geteuid() == 0 else []
        pooler = subprocess.Popen([program, "-q", *user, str(configuration)])
        try:
            _wait_for(listen)
            yield f"postgresql+psycopg://{url.username}@127.0.0.1:{listen}/{url.database}"
        finally:
            pooler.terminate()
            pooler.wait(WAIT_SECONDS)


def test_transactions_run_on_whatever_server_the_pooler_gives(pooled_url: str) -> None:
    upgrade(pooled_url)
    database = Database(make_engine(pooled_url))
    with database.open_reader() as one, database.open_reader() as other:
        for number in range(TIMES):
            # Both are open at once, and the first one gets the server that was given back last.
            for session in (one, other) if number % 2 else (other, one):
                word = "one" if session is one else "other"
                said = text(f"SELECT '{word} ' || CAST(:number AS text)")
                assert session.scalar(said, {"number": number}) == f"{word} {number}"
            other.rollback()
            one.rollback()
    assert database.is_writable()
    with database.writing() as session:
        session.execute(text("UPDATE settings SET name = 'Kadavu'"))
    database.close()


def test_nothing_is_prepared_behind_a_pooler(pooled_url: str, new_postgresql: NewDatabase) -> None:
    for url, expected in ((pooled_url, True), (new_postgresql(False), False)):
        engine = make_engine(url)
        with engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            assert is_pooled(driver) is expected
            assert (driver.prepare_threshold is None) is expected
        engine.dispose()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), WAIT_SECONDS).close()
        except OSError:
            assert time.monotonic() < deadline, "the pooler did not start"
            time.sleep(0.05)
        else:
            return
