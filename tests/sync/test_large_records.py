"""Records that are too large for one message, or for the way: what does not fit is split."""

from collections.abc import Callable, Iterator

import pytest

from panel.sync.protocol.body_codec import LARGEST_BODY_BYTES, unpack
from panel.sync.store import records
from panel.sync.store.write_checks import Write
from tests.conftest import NewDatabase
from tests.support.two_sides import PrimarySide, SatelliteSide, Tamper


@pytest.fixture
def primary(new_sqlite: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_sqlite(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(new_sqlite: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_sqlite(True), primary)
    yield satellite
    satellite.close()


class Weigh(Tamper):
    """Lets everything through, and notes how large the largest message was once unpacked."""

    largest_bytes = 0

    def before(self, content: bytes) -> None:
        super().before(content)
        self._weigh(content)

    def after(self, content: bytes) -> None:
        super().after(content)
        self._weigh(content)

    def _weigh(self, content: bytes) -> None:
        encoding = "" if content[:1] == b"{" else "br"
        plain = unpack(content, encoding, 10 * LARGEST_BODY_BYTES)
        self.largest_bytes = max(self.largest_bytes, len(plain))


Shape = Callable[[int], Write]
# Four bytes each.
LONG_ID = "𝄞" * 249


def photo(number: int) -> Write:
    return Write("photo", f"{number:06}", {"photo": f"{number:06}" * 16_667})


def named_at_length(number: int) -> Write:
    return Write("item", f"{LONG_ID}{number:06}", {"a": f"{number:06}" * 281}, 7)


def all_fields(number: int) -> Write:
    # A shape of its own: its fields are named once more than in its data.
    return Write("t" * 100, f'"{number:06}', {f"{number:06}{n}": 0 for n in range(200)})


def all_names(number: int) -> Write:
    return Write("ü" * 100, "ü" * 249 + f"{number:06}", {})


@pytest.mark.parametrize(
    "shapes",
    [
        [(39, photo), (4_900, named_at_length)],
        [(1_500, all_fields)],
        [(5_000, all_names)],
    ],
    ids=["photos, then long ids", "other fields in each", "nothing but names"],
)
@pytest.mark.parametrize("upwards", [False, True], ids=["down", "up"])
def test_no_message_is_larger_than_its_limit(
    primary: PrimarySide, kadavu: SatelliteSide, shapes: list[tuple[int, Shape]], upwards: bool
) -> None:
    kadavu.sync()
    kadavu.set_request_size(5_000)
    sender = kadavu if upwards else primary
    for count, shape in shapes:
        writes = [shape(number) for number in range(count)]
        if upwards:
            # Nobody but the primary addresses to 7 here.
            writes = [Write(w.table, w.record_id, w.data) for w in writes]
        with sender.database.writing() as session:
            records.write_records(session, sender.sync_id, writes)
    weigh = Weigh()
    run = kadavu.sync(weigh)
    assert (run.result, run.reason) == ("well", "")
    assert weigh.largest_bytes <= LARGEST_BODY_BYTES
    # As many as fit, not a few at a time.
    assert weigh.largest_bytes > LARGEST_BODY_BYTES / 8
    assert primary.versions() == kadavu.versions()
