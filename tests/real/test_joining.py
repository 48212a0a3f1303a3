"""A primary and a satellite, each a process of its own, joined by the file alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from panel.models.runs import Link
from tests.conftest import NewDatabase
from tests.real.conftest import LOOK, QUICK_LOOK_SECONDS, NewSite
from tests.support.processes import ForkedPanel
from tests.support.real_site import KADAVU, NATIONAL, Site, wait_until


@pytest.fixture
def empty(tmp_path: Path, new_sqlite: NewDatabase) -> Iterator[Site]:
    """A server that nobody has told anything yet."""
    folder = tmp_path / "empty"
    folder.mkdir()
    constants = {LOOK: QUICK_LOOK_SECONDS}
    site = Site(KADAVU, ForkedPanel(folder, database_url=new_sqlite(True), constants=constants))
    site.process.start()
    yield site
    site.close()


def test_a_file_joins_two_servers_and_they_synchronise(
    new_site: NewSite, new_sqlite: NewDatabase, empty: Site, tmp_path: Path
) -> None:
    primary = new_site(NATIONAL, new_sqlite(True), others=(KADAVU,))
    with primary.api() as api:
        api.put_many([{"table": "items", "id": "a", "data": {"name": "from above"}}])
    url, file, number = primary.process.url, tmp_path / "kadavu.setup", str(KADAVU.sync_id)
    setup = primary.process.shell("servers", "setup", number, "--url", url)
    file.write_text(setup, encoding="utf-8")

    told = empty.process.shell("join", str(file))

    assert f"Joined {url} as {number} {KADAVU.name}." in told
    wait_until(lambda: has_synchronised(empty), "the first sync")
    assert empty.rows() == primary.rows()


def has_synchronised(site: Site) -> bool:
    with site.database.reading() as session:
        return session.get_one(Link, 1).last_success_at is not None
