"""A full disk, on a small file system of its own: everybody says so, and nothing is lost."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from panel.db import Database, is_disk_full, make_engine
from panel.models.runs import RunResult
from panel.sync.store.records import Write, write_records
from tests.conftest import NewDatabase
from tests.real.conftest import NewSite, health
from tests.support.real_site import KADAVU, NATIONAL, Site, wait_until
from tests.support.screen import Screen
from tests.support.two_sides import PrimarySide, SatelliteSide

SIZE_MEBIBYTES = 24

NewDisk = Callable[[], Path]


@pytest.fixture
def new_disk() -> Iterator[NewDisk]:
    """Makes a small file system; needs the right to mount one."""
    with ExitStack() as stack:

        def make() -> Path:
            # Not below pytest's folder, which PostgreSQL's user may not enter.
            folder = Path(tempfile.mkdtemp(prefix="sync-panel-disk-"))
            folder.chmod(0o755)
            stack.callback(folder.rmdir)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MEBIBYTES}m", "tmpfs", str(folder)]
            if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
                pytest.skip("no file system can be mounted here")
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield make


def fill(folder: Path) -> Path:
    """Fill the file system of ``folder`` to the last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return ballast


def database_on(disk: Path, template: str) -> str:
    file = disk / "sync-panel.sqlite3"
    shutil.copy(template.removeprefix("sqlite:///"), file)
    return f"sqlite:///{file}"


def test_a_full_disk_is_told_everywhere_and_passes_by_itself(
    new_disk: NewDisk, new_site: NewSite, sqlite_url: str
) -> None:
    disks = [new_disk(), new_disk()]
    primary = new_site(NATIONAL, database_on(disks[0], sqlite_url), others=[KADAVU])
    kadavu = new_site(KADAVU, database_on(disks[1], sqlite_url), primary=primary)
    put(kadavu, "stock", 1)
    kadavu.sync()
    screen = Screen(primary.process.url)
    ballast = fill(disks[0])
    put(kadavu, "stock", 2)
    run = kadavu.sync()
    assert (run.result, run.reason) == (RunResult.REFUSED, "disk_full")
    assert health(primary) == (503, "disk_full")
    with pytest.raises(AssertionError, match="disk of this computer is full"):
        primary.process.shell("status")
    assert "The disk of this computer is full" in screen.words()
    with pytest.raises(HTTPError) as sign_in:
        Screen(primary.process.url)
    assert sign_in.value.code == 503
    assert "The disk of this server is full" in sign_in.value.read().decode()
    ballast.unlink()
    wait_until(lambda: health(primary) == (200, "ok"), "the primary has room again")
    assert kadavu.sync().result == RunResult.WELL
    assert primary.rows() == kadavu.rows()

    ballast = fill(disks[1])
    put(primary, "item", 3)
    wait_until(lambda: health(kadavu) == (503, "disk_full"), "the satellite says that it is full")
    with pytest.raises(AssertionError, match="disk of this computer is full"):
        kadavu.process.shell("status")
    ballast.unlink()
    assert kadavu.sync().result == RunResult.WELL
    assert primary.rows() == kadavu.rows()


def put(site: Site, table: str, version: int) -> None:
    with site.api() as api:
        lines = [{"table": table, "id": str(n), "data": {"n": version}} for n in range(20)]
        api.put_many(lines)


def test_postgresql_with_a_full_disk_is_told_from_a_busy_one(
    new_disk: NewDisk,
    new_postgresql: NewDatabase,
    new_sqlite: NewDatabase,
    postgresql_administration: Engine,
) -> None:
    disk, url = new_disk(), new_postgresql(True)
    folder = disk / "space"
    folder.mkdir(0o700)
    with postgresql_administration.connect() as connection:
        home = Path(str(connection.scalar(text("SHOW data_directory"))))
        os.chown(folder, home.stat().st_uid, home.stat().st_gid)
        connection.execute(
            text(f"CREATE TABLESPACE {disk.name.replace('-', '_')} LOCATION '{folder}'")
        )
        name = make_engine(url).url.database
        connection.execute(
            text(f"ALTER DATABASE {name} SET TABLESPACE {disk.name.replace('-', '_')}")
        )
    primary = PrimarySide(url)
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    kadavu = SatelliteSide(new_sqlite(True), primary)
    assert kadavu.sync().result == RunResult.WELL
    writes = [Write("item", str(n), {"text": os.urandom(500).hex()}) for n in range(1_000)]
    with kadavu.database.writing() as session:
        write_records(session, 7, writes)
    database = primary.database
    ballast = fill(disk)
    with pytest.raises(OperationalError) as error, database.writing() as session:
        write_records(session, 1, writes)
    assert is_disk_full(error.value)
    assert not database.has_room()
    assert not Database(database.engine).has_room(probe=True)
    # Its satellites are not told that it is busy, and lose nothing.
    run = kadavu.sync()
    assert (run.result, run.reason) == (RunResult.REFUSED, "disk_full")
    ballast.unlink()
    wait_until(database.has_room, "the database has room again")
    assert kadavu.sync().result == RunResult.WELL
    assert primary.versions() == kadavu.versions()
    assert len(primary.versions()) == 1_000
    kadavu.close()
    database.close()
    with postgresql_administration.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(text(f"DROP TABLESPACE {disk.name.replace('-', '_')}"))
