"""Batches: whatever records go in come out, and nothing else is understood."""

import json
import time
import tracemalloc
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.sync.protocol import batch_codec, json_reader
from panel.sync.protocol.batch_codec import Item, pack, unpack
from panel.sync.protocol.body_codec import Turn, read_body, write_body
from panel.sync.protocol.json_reader import (
    BadMessage,
    DuplicateKey,
    WrittenNumber,
    dump_json,
    load_json,
)
from tests.support.records_api import WRITTEN_NUMBERS

UUID = "01890a5d-ac96-774b-bcce-b302099a8057"
NO_ADDRESSEES: tuple[Any, ...] = (0, "", False, [], {})

plain_text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
uuids = st.uuids().map(str)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | any_text | uuids,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
shapes = st.sampled_from([(), ("a",), ("a", "b"), ("b", "a"), ("id", "a", "n")])


def to_text(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


@st.composite
def items(draw: st.DrawFn) -> Item:
    record_id = draw(plain_text | uuids)
    data = {name: draw(values) for name in draw(shapes)}
    if "id" in data:
        data["id"] = record_id
    return Item(
        position=draw(st.integers(0, 2**40)),
        table=draw(st.sampled_from(["item", "stock_line", "naïve"])),
        record_id=record_id,
        owner=draw(st.integers(1, 9)),
        to=draw(st.none() | st.integers(1, 9)),
        version=draw(st.integers(0, 2**40)),
        data=draw(st.none() | st.just(to_text(data))),
    )


@pytest.mark.search
@given(st.lists(items(), max_size=12))
def test_a_batch_comes_out_as_it_went_in(sent: list[Item]) -> None:
    assert unpack(json.loads(json.dumps(pack(sent)))) == sent


def test_numbers_travel_as_they_were_written() -> None:
    same = [Item(n, "item", f"a{n}", 7, None, n, '{"n":10.50}') for n in range(3)]
    lists = [Item(9, "item", f"b{n}", 7, None, n, '{"n":[10.50,{"m":1}]}') for n in range(3)]
    others = [
        Item(n, "item", f"c{n}", 7, None, n, f'{{"n":{number}}}')
        for n, number in enumerate(WRITTEN_NUMBERS)
    ]
    for sent in (same, lists, others, same + lists + others):
        body = write_body({"records": pack(sent)})
        assert unpack(read_body(body, Turn())["records"]) == sent


@pytest.mark.search
@given(st.lists(items(), min_size=1, max_size=4), st.data())
def test_what_is_no_batch_is_refused_and_never_a_traceback(
    sent: list[Item], data: st.DataObject
) -> None:
    packed = json.loads(json.dumps(pack(sent)))
    member = data.draw(st.sampled_from(sorted(packed)))
    packed[member] = data.draw(values | st.lists(st.lists(values, max_size=4), max_size=4))
    try:
        for item in unpack(packed):
            assert isinstance(item, Item)
    except BadMessage:
        pass


def item(number: int, data: dict[str, Any] | None) -> Item:
    text = None if data is None else to_text(data)
    return Item(number, "stock_line", f"{UUID[:-4]}{number:04}", 7, None, number, text)


def test_one_and_true_and_one_point_zero_stay_apart() -> None:
    sent = [item(n, {"v": value}) for n, value in enumerate([1, True, 1.0, [1], [True], [1.0]])]
    assert unpack(json.loads(json.dumps(pack(sent)))) == sent


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {"order": [[0, 1]]},
        {"shapes": [["t", ["a"], None, []]], "order": [[0, 5_001]]},
        {"shapes": [["t", ["a"], None, []]], "order": [[1, 1]]},
        {"shapes": [["\x00", ["a"], None, []]], "order": [[0, 1]], "positions": [1, []],
         "versions": [1, []], "owners": [7], "to": [None]},
        {"shapes": [["t", ["a"], ["f"], []]], "order": [[0, 1]], "positions": [1, []],
         "versions": [1, []], "owners": [7], "to": [None]},
        {"shapes": [["t", ["a"], None, []]], "order": [[0, 1]], "positions": [-1, []],
         "versions": [1, []], "owners": [7], "to": [None]},
        {"shapes": [["t", "no base64!", None, []]], "order": [[0, 1]], "positions": [1, []],
         "versions": [1, []], "owners": [7], "to": [None]},
        {"shapes": [["t", ["a"], None, []]], "order": [[0, 1]], "positions": [1, []],
         "versions": [1, []], "owners": [0], "to": [None]},
        *({"shapes": [["t", ["a"], None, []]], "order": [[0, 1]], "positions": [1, []],
           "versions": [1, []], "owners": [7], "to": [to]} for to in NO_ADDRESSEES),
        {"shapes": [["t", ["a"], ["f", "f"], [[1], [2]]]], "order": [[0, 1]], "positions": [1, []],
         "versions": [1, []], "owners": [7], "to": [None]},
    ],
)  # fmt: skip
def test_a_broken_batch_is_refused(broken: Any) -> None:
    with pytest.raises(BadMessage):
        unpack(broken)


def test_a_small_batch_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_codec, "LARGEST_DATA", 100_000)
    packed = json.loads(json.dumps(pack([item(1, {"a": "x" * 1_000})])))
    packed["order"] = [[0, 500]]
    packed["shapes"][0][1] = ["a"]
    packed["positions"] = packed["versions"] = [1, [1]]
    with pytest.raises(BadMessage, match="too large"):
        unpack(packed)


def test_a_shape_without_records_is_refused_before_it_costs_anything() -> None:
    shapes = [["t", ["a"], None, []]] + [0] * 1_000_000
    with pytest.raises(BadMessage, match="other shapes"):
        unpack({"shapes": shapes, "order": [[0, 5_000]]})


def test_many_fields_of_many_records_are_refused_before_they_fill_the_memory() -> None:
    names = [str(number) for number in range(4_000)]
    tracemalloc.start()
    with pytest.raises(BadMessage, match="too large"):
        unpack({"shapes": [["t", ["a"], names, [[1]] * 4_000]], "order": [[0, 5_000]]})
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_columns_are_shorter_than_objects() -> None:
    sent = [item(n, {"id": item(n, None).record_id, "stock": n % 7}) for n in range(300)]
    objects = "\n".join(to_text(vars(one)) for one in sent).encode()
    columns = to_text(pack(sent)).encode()
    assert len(brotli.compress(columns, quality=5)) < 0.8 * len(brotli.compress(objects, quality=5))


def test_a_deep_record_costs_one_pass_though_a_number_in_it_is_kept_as_written() -> None:
    wide = ",".join(["0"] * 20_000)
    flat, deep = (
        load_json(f'{{"n":{"[" * depth}[{wide}],1.50{"]" * depth}}}') for depth in (1, 90)
    )
    seconds = []
    for data in (flat, deep):
        begun = time.process_time()
        for _ in range(5):
            dump_json(data)
        seconds.append(time.process_time() - begun)
    # With a pass for each level it is 30 times as much.
    assert seconds[1] < 8 * seconds[0]


def test_what_stands_for_a_written_number_is_no_number_of_anybody() -> None:
    with pytest.raises(ValueError, match="stands for"):
        dump_json([WrittenNumber("1.50"), str(json_reader._PLACE)])


def test_a_name_twice_among_many_is_found_in_one_pass() -> None:
    members = ",".join(f'"n{number}":0' for number in range(20_000))
    begun = time.process_time()
    with pytest.raises(DuplicateKey, match="n19999"):
        load_json(f'{{{members},"n19999":1}}', unique=True)
    # With a pass for each name it takes ten seconds.
    assert time.process_time() - begun < 1
