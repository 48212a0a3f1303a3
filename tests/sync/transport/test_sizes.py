"""Automatic request size: what a batch takes on lines of every kind, reckoned, not waited for."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from panel.sync.protocol.body_codec import LARGEST_BODY_BYTES
from panel.sync.transport.batch_size import (
    BATCH_SECONDS,
    SMALLEST_BYTES,
    Meter,
    batch_bytes,
    batch_size,
    doubled,
    grown,
    halved,
    measure,
    measure_broken,
    measure_bytes,
)

RECORD_BYTES = 60
HEAD_BYTES = 120


@dataclass
class Line:
    """A line that takes so long for what it carries, and a meter at its end."""

    way_seconds: float
    bits_per_second: float
    answers_connect_at_once: bool = False
    pulls: bool = False
    per_record: float | None = None
    meter: Meter = field(default_factory=Meter)

    def connect(self) -> None:
        self.meter.note_connected(0.001 if self.answers_connect_at_once else self.way_seconds)

    def batches(self, count: int) -> Iterator[int]:
        """Send batches, each as large as those before it lead to, and yield their records."""
        for _ in range(count):
            records = batch_size(None, self.per_record)
            seconds = self.way_seconds + self.carrying_seconds(records)
            if self.pulls:
                self.meter.note_answer(HEAD_BYTES, self.way_seconds)
            else:
                self.meter.note_answer(records * RECORD_BYTES, seconds)
                self.meter.note_push(records * RECORD_BYTES, HEAD_BYTES, seconds)
            carrying_seconds = max(seconds - self.meter.round_trip_seconds, 0.0)
            self.per_record = measure(self.per_record, records, records, carrying_seconds)
            yield records

    def carrying_seconds(self, records: int) -> float:
        return records * RECORD_BYTES * 8 / self.bits_per_second


def test_the_first_batch_has_a_hundred() -> None:
    assert batch_size(None, None) == 100


def test_what_the_preferences_say_is_obeyed() -> None:
    assert batch_size(3, 0.001) == 3


@pytest.mark.parametrize("pulls", [False, True], ids=["push", "pull"])
@pytest.mark.parametrize("at_once", [False, True], ids=["line answers", "proxy answers"])
@pytest.mark.parametrize("way_seconds", [0.05, 0.8, 2.0])
def test_batches_come_to_carry_for_five_seconds(
    way_seconds: float, at_once: bool, pulls: bool
) -> None:
    line = Line(way_seconds, 25_000, at_once, pulls)
    line.connect()
    *_, last = line.batches(10)
    assert line.carrying_seconds(last) == pytest.approx(BATCH_SECONDS, rel=0.1)


def test_a_line_that_became_slower_gets_smaller_batches_at_once() -> None:
    line = Line(0.8, 100_000)
    line.connect()
    *_, before = line.batches(10)
    line.bits_per_second = 25_000
    first, second, *_ = line.batches(6)
    assert first == before
    assert second < first * 0.7
    *_, last = line.batches(10)
    assert line.carrying_seconds(last) == pytest.approx(BATCH_SECONDS, rel=0.1)


@pytest.mark.parametrize(("bits_per_second", "records"), [(1e9, 5_000), (50, 1)])
def test_batches_stay_between_one_and_five_thousand(bits_per_second: float, records: int) -> None:
    line = Line(0.8, bits_per_second)
    line.connect()
    *_, last = line.batches(12)
    assert last == records


def test_a_batch_that_broke_off_is_followed_by_half_of_it() -> None:
    assert batch_size(None, measure_broken(0.01)) == batch_size(None, 0.01) // 2


def test_a_few_records_teach_nothing_about_many() -> None:
    assert measure(0.02, 9, 9, 1.7) == 0.02


def test_what_an_ordinary_day_brings_makes_no_batch_larger() -> None:
    # Twenty records, in the segment that told of their beginning.
    assert measure(0.01, batch_size(None, 0.01), 20, 0.0) == 0.01


def test_few_records_that_took_long_make_it_smaller() -> None:
    assert batch_size(None, measure(0.01, 500, 80, 60.0)) < 20


def test_a_batch_that_came_at_once_lets_the_next_be_eight_times_as_large() -> None:
    assert batch_size(None, measure(None, 100, 100, 0.0)) == 800


def test_however_quick_a_line_was_it_may_break_and_is_spared_then() -> None:
    per_record: float | None = None
    for _ in range(10):
        allowed = batch_size(None, per_record)
        per_record = measure(per_record, allowed, allowed, 0.0)
    assert batch_size(None, per_record) == 5_000
    for size in (2_500, 1_250, 625):
        per_record = measure_broken(per_record)
        assert batch_size(None, per_record) == size


def test_a_pull_is_measured_from_the_first_byte_of_its_answer() -> None:
    line = Line(2.0, 50_000, answers_connect_at_once=True, pulls=True)
    line.connect()
    _, second = line.batches(2)
    assert line.carrying_seconds(second) == pytest.approx(BATCH_SECONDS, rel=0.01)


def test_a_line_that_was_connected_anew_is_as_far_as_its_answers_say() -> None:
    meter = Meter()
    meter.note_connected(0.001)
    meter.note_answer(HEAD_BYTES, 2.0)
    meter.note_connected(0.001)
    assert meter.round_trip_seconds == 2.0
    assert meter.connect_seconds == 0.001


def test_what_is_reckoned_from_other_pushes_explains_at_most_half_of_one() -> None:
    meter = Meter()
    meter.note_connected(0.001)
    # As if a push of three times as many bytes took hardly longer: the line was busy before.
    meter.note_push(3_000, HEAD_BYTES, 3.9)
    meter.note_push(9_000, HEAD_BYTES, 4.0)
    assert meter.round_trip_seconds == 2.0


def test_what_went_both_ways_teaches_nothing_about_the_way() -> None:
    meter = Meter()
    meter.note_connected(0.001)
    for size in (2_000, 3_000, 9_000):
        meter.note_answer(size, 1.0)
        meter.note_push(size, 9_000, 3.0)
    assert meter.round_trip_seconds == 0.001


# --- bytes ----------------------------------------------------------------------------------------


def test_a_preference_is_the_most_and_not_the_least() -> None:
    assert batch_size(10, measure_broken(0.01, 10)) == 5
    assert batch_size(500, 0.1) == 50
    assert batch_size(500, None) == 500


def test_batches_that_break_are_halved_down_to_one_and_grow_again() -> None:
    per_record: float | None = None
    sizes = []
    for _ in range(8):
        sizes.append(batch_size(None, per_record))
        per_record = measure_broken(per_record, sizes[-1])
    assert sizes == [100, 50, 25, 12, 6, 3, 1, 1]
    for size in (8, 64, 512):
        allowed = batch_size(None, per_record)
        per_record = measure(per_record, allowed, allowed, 0.0)
        assert allowed < batch_size(None, per_record) <= size


def test_a_batch_has_no_more_bytes_than_the_line_carries_in_its_time() -> None:
    per_byte = measure_bytes(None, 500_000, 10.0)
    assert batch_bytes(per_byte, None) == pytest.approx(250_000, abs=1)
    assert batch_bytes(per_byte, 60_000) == 60_000


def test_few_bytes_teach_nothing_of_the_line() -> None:
    assert measure_bytes(None, 300, 0.1) is None
    assert batch_bytes(None, None) == LARGEST_BODY_BYTES


def test_a_large_message_that_broke_is_halved_by_its_own_size() -> None:
    assert halved(None, 6_000_000) == 3_000_000
    assert halved(3_000_000, 600_000) == 300_000
    assert halved(200_000, 600_000) == 100_000
    assert halved(8_000, 600_000) == SMALLEST_BYTES


def test_a_small_message_that_broke_tells_little_unless_it_was_refused() -> None:
    assert halved(None, 10_000) == 64 * 1024
    assert halved(None, 10_000, is_refused=True) == 5_000
    assert halved(None, 200) is None


def test_what_the_way_carries_grows_until_no_message_is_larger() -> None:
    assert grown(100_000, 40_000) == 100_000
    assert grown(100_000, 50_000) == 125_000
    assert grown(None, 50_000) is None
    largest: int | None = SMALLEST_BYTES
    for _ in range(11):
        largest = doubled(largest)
        assert largest is not None
    assert doubled(largest) is None
