"""What a body may cost: counted before it is parsed, decoded one at a time, on both sides."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import brotli
import psutil
import pytest

from panel.sync.protocol import body_codec
from panel.sync.protocol.body_codec import TooManyElements, check_elements
from tests.security.attacked import (
    BODIES,
    EMPTY_LISTS,
    MIB,
    basic,
    make_primary,
    peak_bytes,
    send,
)
from tests.support.processes import ForkedPanel

# The promise of SECURITY.md for all bodies at once, above what the process takes without one.
MOST_BYTES = 150 * MIB
AT_ONCE = 8


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedPanel]:
    """A primary with the satellite 7, which has a pair of its own."""
    panel = ForkedPanel(tmp_path_factory.mktemp("primary"))
    make_primary(panel)
    panel.start()
    yield panel
    panel.stop()


def attack(panel: ForkedPanel, path: str, headers: Mapping[str, str], body: bytes) -> list[int]:
    """Send ``body`` from as many connections as there are threads; return the statuses."""
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(send(panel, path, headers, body)))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def packed_bodies(encoding: str) -> list[bytes]:
    """Return the bodies in ``encoding``: every one, or that which takes most as text."""
    if encoding == "gzip":
        return [gzip.compress(BODIES["wide text"], 1)]
    # As hard to read as from the best compression, in a fraction of the time.
    return [brotli.compress(body, quality=4) for body in BODIES.values()]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux tells it")
@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_no_body_takes_more_memory_than_is_promised(primary: ForkedPanel, encoding: str) -> None:
    token = primary.shell("token", "add", f"lab {encoding}").strip().splitlines()[-1].split()[-1]
    before = psutil.Process(primary.pid).memory_info().rss
    for packed in packed_bodies(encoding):
        for path, authorization in (
            ("/sync/exchange", basic("shared")),
            ("/sync/v5/queued_records", basic("kadavu")),
            ("/api/v1/records", f"Bearer {token}"),
        ):
            headers = {
                "Authorization": authorization,
                "Content-Encoding": encoding,
                "msupply-site-uuid": "machine",
                "version": "14",
                "app-name": "Open mSupply Desktop",
                "app-version": "2",
            }
            statuses = attack(primary, path, headers, packed)
            assert len(statuses) == AT_ONCE
            # v5 answers one call of a site at a time, and the others with 503.
            assert all(400 <= status < 500 or status == 503 for status in statuses), statuses
    grown = peak_bytes(primary.pid) - before
    assert grown < MOST_BYTES, f"{grown // MIB} MiB"
    print(before // MIB, grown // MIB)


_READS_ANSWER = """
import resource, sys
from panel.sync.transport.exchange_client import read_json
from panel.sync.transport.http import Response
from panel.sync.protocol.json_reader import BadMessage
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, packed = peak(), sys.stdin.buffer.read()
try:
    read_json(Response(200, {"Content-Encoding": "br"}, packed, 1.0))
except BadMessage:
    pass
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux tells it")
@pytest.mark.parametrize("kind", BODIES)
def test_no_answer_takes_more_memory_than_is_promised(kind: str) -> None:
    read = subprocess.run(
        [sys.executable, "-c", _READS_ANSWER],
        input=brotli.compress(BODIES[kind], quality=4),
        capture_output=True,
        check=True,
    )
    assert int(read.stdout) < MOST_BYTES


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ('[" , [ { ", 1]', 2),
        (r'["\\", "\",[", 2]', 3),
        (r'[{"a\\\"": ["x"]}]', 3),
        ('{"k": [], "l": ["[[[[[[", ",,,,"]}', 5),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 3, 64 * 1024])
def test_values_are_counted_outside_of_texts(
    text: str, marks: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_codec, "_PIECE", piece)
    monkeypatch.setattr(body_codec, "MOST_ELEMENTS", marks)
    check_elements(text)
    monkeypatch.setattr(body_codec, "MOST_ELEMENTS", marks - 1)
    with pytest.raises(TooManyElements):
        check_elements(text)


def test_an_import_of_too_many_values_is_refused(tmp_path: Path) -> None:
    panel = ForkedPanel(tmp_path / "panel")
    file = tmp_path / "site.json"
    file.write_bytes(EMPTY_LISTS)
    with pytest.raises(AssertionError, match="has more than 400000 values"):
        panel.shell("import", str(file), "--yes")
