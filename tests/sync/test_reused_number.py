"""A Sync ID that another store gets: it neither gets nor overwrites what was there before."""

from collections.abc import Collection, Iterator

import pytest

from panel.errors import NeedsConfirmation, NotFound
from panel.models.settings import Server
from panel.operations.adopt_identity import add_applicant
from panel.preferences.server_changes import give_back_records
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server, edit_server, remove_servers, restore_servers
from panel.sync.store.jsonl import as_line, export_records
from tests.conftest import NewDatabase
from tests.support.cast import ASHA
from tests.support.two_sides import PrimarySide, SatelliteSide

LABASA, LAUTOKA = ("Labasa", "LBS-01"), ("Lautoka", "LTK-01")


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(8, *LABASA)
    primary.add(9, "Levuka", "LVK-01")
    yield primary
    primary.close()


@pytest.fixture
def labasa(new_sqlite: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    """Labasa, which is removed after it has pushed and got its records."""
    labasa = SatelliteSide(new_sqlite(True), primary, 8, *LABASA)
    primary.put("for8", {"by": 1}, to=8)
    labasa.sync()
    labasa.put("own8", {"of": "Labasa"})
    labasa.put("letter", {"of": "Labasa"}, to=9)
    labasa.put("gone", {"of": "Labasa"})
    labasa.sync()
    labasa.put("gone", None)
    labasa.sync()
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [primary.row(8).id])
    yield labasa
    labasa.close()


def add(primary: PrimarySide, confirmed: Collection[str] = ()) -> Server:
    with primary.database.writing() as session:
        return add_server(session, ASHA, ServerFields(8, *LAUTOKA), confirmed=confirmed)


@pytest.mark.both_databases
@pytest.mark.usefixtures("labasa")
def test_another_store_neither_gets_nor_overwrites_the_records_of_the_one_before(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    before = primary.contents()
    with pytest.raises(NeedsConfirmation) as asked:
        add(primary)
    assert asked.value.choice is not None
    assert "Labasa" in str(asked.value.choice.question)
    assert list(asked.value.choice.acts) == ["records=keep", "records=archive"]
    with pytest.raises(NeedsConfirmation):
        add(primary, ["records=keep", "records=archive"])
    add(primary, ["records=archive"])
    lautoka = SatelliteSide(new_sqlite(True), primary, 8, *LAUTOKA, hardware_id="another")
    lautoka.put("own8", {"of": "Lautoka"})
    lautoka.put("gone", {"of": "Lautoka"})
    lautoka.put("new8", {"of": "Lautoka"})
    lautoka.sync()
    assert lautoka.sync().set_aside in (0, 2)
    assert set(lautoka.contents()) == {("item", name) for name in ("own8", "gone", "new8")}
    assert {aside.reason for aside in lautoka.asides()} == {"archived"}
    assert primary.contents() == {**before, ("item", "new8"): {"of": "Lautoka"}}
    with primary.database.reading() as session:
        kept = [as_line(record) for record in export_records(session, archived=True)]
    assert [(line["id"], line["owner"], line["to"]) for line in kept] == [
        *(("for8", 1, 8), ("letter", 8, 9), ("own8", 8, None)),
    ]
    assert all(line["archived"] for line in kept)
    # Who was written to by the store before still gets it.
    levuka = SatelliteSide(new_sqlite(True), primary, 9, "Levuka", "LVK-01")
    levuka.sync()
    assert levuka.contents() == {("item", "letter"): {"of": "Labasa"}}
    for side in (lautoka, levuka):
        side.close()


@pytest.mark.usefixtures("labasa")
def test_the_same_store_gets_its_records_back(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    add(primary, ["records=keep"])
    again = SatelliteSide(new_sqlite(True), primary, 8, *LAUTOKA, hardware_id="another")
    again.sync()
    assert {key for _, key in again.contents()} == {"own8", "letter", "for8"}
    again.close()


@pytest.mark.usefixtures("labasa")
def test_what_is_written_to_the_store_before_does_not_reach_the_new_one(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    levuka = SatelliteSide(new_sqlite(True), primary, 9, "Levuka", "LVK-01")
    levuka.put("wish", {"n": 1}, to=8)
    with primary.database.writing() as session:
        restore_servers(session, ASHA, [session.query(Server).filter_by(sync_id=8).one().id])
    levuka.sync()
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [primary.row(8).id])
    add(primary, ["records=archive"])
    primary.put("for8", {"by": "changed"})
    levuka.put("wish", {"n": 2}, to=8)
    levuka.sync()
    assert [aside.reason for aside in levuka.asides()] == ["address_archived"]
    levuka.put("wish", None)
    levuka.sync()
    assert levuka.asides() == []
    assert primary.get("wish") is None
    lautoka = SatelliteSide(new_sqlite(True), primary, 8, *LAUTOKA, hardware_id="another")
    lautoka.sync()
    assert lautoka.versions() == {}
    for side in (lautoka, levuka):
        side.close()


@pytest.mark.usefixtures("labasa")
def test_an_applicant_an_edited_row_and_a_restored_one_ask_too(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    lautoka = SatelliteSide(new_sqlite(True), primary, 8, *LAUTOKA, hardware_id="another")
    lautoka.sync()
    with primary.database.writing() as session, pytest.raises(NeedsConfirmation):
        add_applicant(session, ASHA, 8, "another")
    row = primary.row(9)
    fields = ServerFields(8, *LAUTOKA)
    with primary.database.writing() as session, pytest.raises(NeedsConfirmation):
        edit_server(session, ASHA, row.id, fields, row.version)
    added = add(primary, ["records=archive"])
    lautoka.sync()
    lautoka.put("new8", {"of": "Lautoka"})
    lautoka.sync()
    with primary.database.writing() as session:
        remove_servers(session, ASHA, [added.id])
        old = session.query(Server).filter_by(sync_id=8, name="Labasa").one()
        # Nobody had the number since: it is the same store.
        restore_servers(session, ASHA, [added.id])
        remove_servers(session, ASHA, [added.id])
    with primary.database.writing() as session, pytest.raises(NeedsConfirmation):
        restore_servers(session, ASHA, [old.id])
    with primary.database.writing() as session:
        restore_servers(session, ASHA, [old.id], ["records=archive"])
    lautoka.close()


@pytest.mark.both_databases
@pytest.mark.usefixtures("labasa")
def test_archived_records_are_given_back(primary: PrimarySide, new_sqlite: NewDatabase) -> None:
    before = primary.versions()
    add(primary, ["records=archive"])
    again = SatelliteSide(new_sqlite(True), primary, 8, *LAUTOKA, hardware_id="another")
    again.put("own8", {"of": "a new machine"})
    again.sync()
    again.sync()
    assert [aside.reason for aside in primary.asides()] == ["archived"]
    with primary.database.writing() as session:
        assert give_back_records(session, ASHA, 8) == 4
    assert primary.versions() == before
    # What is addressed comes by itself, its own with an initialise.
    again.sync()
    assert again.get("for8") == {"by": 1}
    again.initialise()
    again.sync()
    assert again.get("own8") in ({"of": "Labasa"}, {"of": "a new machine"})
    assert again.get("letter") == {"of": "Labasa"}
    # The one that was refused is still there to choose.
    assert [aside.data for aside in primary.asides()] == ['{"of":"a new machine"}']
    with primary.database.writing() as session, pytest.raises(NotFound):
        give_back_records(session, ASHA, 8)
    again.close()


def test_a_row_that_gets_another_store_asks_whose_its_records_are(
    primary: PrimarySide, new_sqlite: NewDatabase
) -> None:
    levuka = SatelliteSide(new_sqlite(True), primary, 9, "Levuka", "LVK-01")
    levuka.put("own9", {"of": "Levuka"})
    levuka.sync()
    row = primary.row(9)

    def edit(name: str, store: str, confirmed: Collection[str] = ()) -> None:
        with primary.database.writing() as session:
            fields = ServerFields(9, name, store)
            edit_server(session, ASHA, row.id, fields, primary.row(9).version, confirmed)

    edit("Levuka Hospital", "LVK-01")
    with pytest.raises(NeedsConfirmation) as asked:
        edit(*LAUTOKA)
    assert asked.value.choice is not None
    assert "1 records already, of Levuka Hospital" in str(asked.value.choice.question)
    assert primary.row(9).store == "LVK-01"
    edit("Levuka Hospital", "LVK-1", ["records=keep"])
    edit(*LAUTOKA, ["records=archive"])
    assert [version[0] for version in primary.versions().values()] == [-9]
    levuka.close()
