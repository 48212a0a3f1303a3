"""Records that are too large for one message, or for the way: what does not fit is split."""

import base64
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from sqlalchemy import select, update

from panel.models.records import Key, Part, Record
from panel.models.runs import Link
from panel.preferences.shared_password import wire_password
from panel.sync.primary.exchange import Reply
from panel.sync.primary.parts import PartCall, find_fitting
from panel.sync.protocol.batch_codec import Item, item_of
from panel.sync.protocol.body_codec import LARGEST_BODY_BYTES, Turn, unpack
from panel.sync.protocol.column_codec import HIGHEST_PUSHED_VERSION
from panel.sync.protocol.error_codes import TOO_LARGE, explain
from panel.sync.protocol.messages import Pair, Request
from panel.sync.store import parts, records
from panel.sync.store.records import Write
from panel.sync.transport.exchange_client import basic
from panel.sync.transport.http import LinkFault
from tests.conftest import NewDatabase
from tests.support.two_sides import PASSWORD, PrimarySide, SatelliteSide, Side, Tamper


@pytest.fixture
def primary(new_database: NewDatabase) -> Iterator[PrimarySide]:
    primary = PrimarySide(new_database(True))
    primary.add(7, "Kadavu Health Centre", "KDV-01")
    yield primary
    primary.close()


@pytest.fixture
def kadavu(new_database: NewDatabase, primary: PrimarySide) -> Iterator[SatelliteSide]:
    satellite = SatelliteSide(new_database(True), primary)
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
        with Turn() as turn:
            plain = unpack(content, encoding, 10 * LARGEST_BODY_BYTES, turn)
        self.largest_bytes = max(self.largest_bytes, len(plain))


Shape = Callable[[int], Write]
# Four bytes each.
LONG_ID = "𝄞" * 249


def photo(number: int) -> Write:
    return Write("photo", f"{number:06}", {"photo": f"{number:06}" * 16_667})


def score(number: int) -> Write:
    # A reader takes only half as many bytes of characters that take four.
    return Write("score", f"{number:06}", {"notes": f"{number:06}𝄞" * 10_000})


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
        [(90, score)],
    ],
    ids=["photos, then long ids", "other fields in each", "nothing but names", "wide characters"],
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
    assert weigh.largest_bytes > LARGEST_BODY_BYTES / 16
    assert primary.versions() == kadavu.versions()


# --- a line that carries only so much -------------------------------------------------------------


class BreaksAfter(Tamper):
    """Each connection, which is each run here, breaks once so many bytes went over it."""

    def __init__(self, carried_bytes: int) -> None:
        super().__init__()
        self._left = carried_bytes
        self.sent: list[bytes] = []

    def before(self, content: bytes) -> None:
        super().before(content)
        self.sent.append(content)
        self._left -= len(content) + HEAD_BYTES
        if self._left < 0:
            raise LinkFault("cut_off")

    def after(self, content: bytes) -> None:
        super().after(content)
        self._left -= len(content)
        if self._left < 0:
            fault = LinkFault("cut_off")
            fault.bytes_down = len(content)
            raise fault


class Refuses(Tamper):
    """A proxy that takes no body of more bytes."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def before(self, content: bytes) -> None:
        super().before(content)
        if len(content) > self._most_bytes:
            raise LinkFault(TOO_LARGE)


HEAD_BYTES = 200


def noise(size: int, seed: int = 0) -> str:
    """Return so many characters that no compression makes shorter than three quarters."""
    return base64.b64encode(random.Random(seed).randbytes(size * 3 // 4)).decode()  # noqa: S311


def put_noise(side: Side, sizes: list[int]) -> None:
    writes = [
        Write("photo", f"{number:03}", {"photo": noise(size, number)})
        for number, size in enumerate(sizes)
    ]
    with side.database.writing() as session:
        records.write_records(session, side.sync_id, writes)


def runs_until_well(satellite: SatelliteSide, tamper: Callable[[], Tamper], most: int) -> int:
    for number in range(1, most + 1):
        if satellite.sync(tamper()).result == "well":
            return number
    raise AssertionError(f"not all arrived in {most} runs")


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("request_size", [None, 10])
def test_large_records_pass_a_line_that_breaks(
    primary: PrimarySide, kadavu: SatelliteSide, upwards: bool, request_size: int | None
) -> None:
    """30 seconds of 400 kbit/s: two of the twelve at once."""
    kadavu.sync()
    kadavu.set_request_size(request_size)
    put_noise(kadavu if upwards else primary, [773_000] * 12 + [200] * 50)
    runs_until_well(kadavu, lambda: BreaksAfter(1_500_000), 14)
    assert primary.versions() == kadavu.versions()
    assert len(kadavu.contents()) == 62


@pytest.mark.both_databases
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_a_record_passes_a_line_that_carries_a_part_of_it(
    primary: PrimarySide, kadavu: SatelliteSide, upwards: bool
) -> None:
    kadavu.sync()
    put_noise(kadavu if upwards else primary, [1_040_000, 100])
    runs_until_well(kadavu, lambda: BreaksAfter(200_000), 12)
    assert primary.versions() == kadavu.versions()
    assert parts_of(kadavu) == {}


def test_a_new_satellite_gets_large_records_over_a_line_that_breaks(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    put_noise(primary, [300_000, 100, 300_000])
    runs_until_well(kadavu, lambda: BreaksAfter(100_000), 20)
    assert primary.versions() == kadavu.versions()


@pytest.mark.both_databases
def test_what_a_restored_primary_has_of_a_large_record_comes_in_parts(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    put_noise(primary, [600_000])
    kadavu.sync()
    backup = primary.back_up()
    with primary.database.writing() as session:
        records.write_records(session, 1, [Write("photo", "000", {"photo": "small now"})])
    kadavu.sync()
    primary.restore(backup)
    # The bound on what the way carries is known from before.
    with kadavu.database.writing() as session:
        session.get_one(Link, 1).largest_down = 100_000
    runs_until_well(kadavu, lambda: BreaksAfter(200_000), 12)
    assert kadavu.contents()["photo", "000"] == {"photo": noise(600_000, 0)}
    assert primary.contents() == kadavu.contents()


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
def test_a_record_that_changes_while_it_goes_in_parts_arrives_as_it_is_then(
    primary: PrimarySide, kadavu: SatelliteSide, upwards: bool
) -> None:
    kadavu.sync()
    sender, receiver = (kadavu, primary) if upwards else (primary, kadavu)
    put_noise(sender, [900_000])
    while not any(size for _, size in parts_of(receiver).values()):
        assert kadavu.sync(BreaksAfter(200_000)).result == "failed"
    put_noise(sender, [500_000])
    runs_until_well(kadavu, lambda: BreaksAfter(200_000), 8)
    assert primary.versions() == kadavu.versions()


def test_sizes_grow_again_once_the_line_is_good(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    put_noise(kadavu, [1_000_000])
    for _ in range(6):
        kadavu.sync(BreaksAfter(20_000))
    put_noise(primary, [200])
    kadavu.sync()
    for _ in range(13):
        kadavu.sync()
    idle = Tamper()
    last: list[bytes] = []
    idle.before = last.append  # type: ignore[method-assign, assignment]
    kadavu.sync(idle)
    assert b'"bytes"' not in last[0]


# --- a proxy that takes only so much --------------------------------------------------------------


def test_a_proxy_that_takes_no_large_body_gets_small_ones(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    put_noise(kadavu, [100, 300_000, 100, 900_000, 100])
    run = kadavu.sync(Refuses(250_000))
    assert (run.result, run.pushed, run.set_aside) == ("well", 5, 0)
    assert primary.versions() == kadavu.versions()


@pytest.mark.both_databases
def test_a_record_too_large_for_the_way_waits_and_the_rest_goes_by(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    put_noise(kadavu, [100, 9_000, 100, 12_000, 100])
    primary.put("central", {"n": 1})
    for _ in range(2):
        run = kadavu.sync(Refuses(3_000))
        assert (run.result, run.reason) == ("well", "")
        assert len(primary.contents()) == 4
        assert kadavu.get("central") == {"n": 1}
        notes = kadavu.asides()
        assert {(note.record_id, note.reason) for note in notes} == {
            ("001", TOO_LARGE), ("003", TOO_LARGE),
        }  # fmt: skip
        assert "413" in str(explain(TOO_LARGE).what)
    # The way allows it now.
    assert kadavu.sync().pushed == 2
    assert kadavu.asides() == []
    assert primary.versions() == kadavu.versions()


def test_a_proxy_that_refuses_everything_is_a_fault(kadavu: SatelliteSide) -> None:
    kadavu.sync()
    put_noise(kadavu, [100] * 3)
    run = kadavu.sync(Refuses(0))
    assert (run.result, run.reason) == ("failed", TOO_LARGE)


# --- repeats and strangers ------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_late_repeat_of_a_part_changes_nothing(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    calls: list[tuple[PartCall, bytes, Mapping[str, str]]] = []
    take_piece = primary.service.take_piece

    def listen(
        call: PartCall, read: Callable[[], bytes], headers: Mapping[str, str], address: str
    ) -> Reply:
        calls.append((call, read(), headers))
        return take_piece(call, read, headers, address)

    primary.service.take_piece = listen  # type: ignore[method-assign, assignment]
    put_noise(kadavu, [600_000])
    runs_until_well(kadavu, lambda: BreaksAfter(200_000), 12)
    assert len(calls) > 3
    before = primary.versions(), parts_of(primary)
    for call, piece, headers in calls:
        take_piece(call, lambda piece=piece: piece, headers, "192.0.2.7")  # type: ignore[misc]
    assert (primary.versions(), parts_of(primary)) == before
    assert kadavu.sync().result == "well"


def test_a_lost_answer_to_a_record_in_parts_sends_no_part_again(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    put_noise(kadavu, [600_000])
    kadavu.sync(BreaksAfter(200_000))

    class LoseLast(Tamper):
        def after(self, content: bytes) -> None:
            if primary.contents():
                raise LinkFault("cut_off")

    assert kadavu.sync(LoseLast()).result == "failed"
    again = BreaksAfter(10_000_000)
    run = kadavu.sync(again)
    assert (run.result, run.pushed) == ("well", 1)
    assert sum(map(len, again.sent)) < 2_000


@pytest.mark.parametrize("place", [0, 1, 400, 799])
def test_what_a_line_carries_is_found_in_a_few_tries(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """A record that fills the line by itself, with 800 small ones."""
    items = [Item(n, "item", f"{n:05}", 1, None, n, f'{{"n":{n}}}') for n in range(1, 801)]
    large = Item(801, "photo", "large", 1, None, 801, f'{{"photo":"{noise(60_000)}"}}')
    items.insert(place, large)
    packed: list[int] = []

    def pack(some: Sequence[Item]) -> bytes:
        packed.append(len(some))
        return real_pack(some)

    real_pack = parts.pack
    monkeypatch.setattr(parts, "pack", pack)
    most_bytes = len(real_pack([large])) - 1
    count = parts.fitting(items, most_bytes)
    assert len(packed) <= 12
    assert place * 7 // 8 <= count <= max(1, place)


def test_keys_in_doubt_are_answered_in_a_few_tries() -> None:
    small = [Record(table_name="item", record_id=str(n), seq=n) for n in range(1, 400)]
    large = Record(table_name="photo", record_id="0", seq=1_000)
    large.data = f'{{"photo":"{noise(60_000)}"}}'
    tries: list[int] = []
    for one in (large, *small):
        one.owner, one.version = 1, one.seq

    def find(keys: Sequence[Key]) -> tuple[int, Sequence[Record]]:
        # The first key is of the newest record.
        tries.append(len(keys))
        found = [one for one in (*small, large) if (one.table_name, one.record_id) in keys]
        return len(keys), found

    most_bytes = len(parts.pack([item_of(large)])) + 1
    keys = [(one.table_name, one.record_id) for one in (large, *small)]
    request = Request("", doubts=keys, most_bytes=most_bytes)
    answered, found, _ = find_fitting(find, request, None, 7)
    assert (answered, found) == (1, [large])
    assert len(tries) <= 12


def test_no_part_brings_a_version_that_could_not_be_passed_on(
    primary: PrimarySide, kadavu: SatelliteSide
) -> None:
    kadavu.sync()
    put_noise(kadavu, [60_000])
    with kadavu.database.writing() as session:
        session.execute(update(Record).values(version=HIGHEST_PUSHED_VERSION + 1))
        session.get_one(Link, 1).largest_up = 10_000
    run = kadavu.sync()
    assert (run.result, run.reason) == ("refused", "bad_request")
    assert list(parts_of(primary)) == [7]
    assert primary.versions() == {}


def test_strangers_get_no_part_and_leave_none(primary: PrimarySide, kadavu: SatelliteSide) -> None:
    kadavu.sync()
    put_noise(primary, [600])

    def read() -> bytes:
        raise AssertionError("the body of a stranger was read")

    call = PartCall("0" * 32, {"at": "0", "position": "1", "length": "10"})
    for header in ("", "Bearer 7.guessed", basic(Pair("shared", wire_password(PASSWORD)))):
        headers = {"Authorization": header}
        assert primary.service.take_piece(call, read, headers, "192.0.2.7").status == 401
        assert primary.service.give_piece(call, headers, "192.0.2.7").status == 401
    assert parts_of(primary) == {}


def parts_of(side: Side) -> dict[int, tuple[str, int]]:
    with side.database.reading() as session:
        return {p.source: (p.digest, len(p.content)) for p in session.scalars(select(Part))}
