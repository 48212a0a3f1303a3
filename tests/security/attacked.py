"""A real primary to attack: its credentials, the worst bodies, and what it takes of the machine."""

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.support.processes import ForkedPanel

PASSWORD = "reef and palm 2"
MIB = 2**20
# As large as a body may be once it is decompressed, with a member that nobody asks for.
EMPTY_LISTS = b'{"version":1,"x":[%s[]]}' % (b"[]," * (16 * MIB // 3 - 10))
ODD_NUMBERS = b'{"version":1,"x":[%s1.50]}' % (b"1.50," * (16 * MIB // 5 - 10))
OBJECTS = b'{"version":1,"x":[%s{}]}' % (b'{"a":0},' * (16 * MIB // 8 - 10))
WIDE_TEXT = b'{"version":1,"x":"%s"}' % ("\U0001f600".encode() * (4 * MIB - 10))
# 5 000 records of 6 400 characters each, which share their one value.
SHARED_VALUE = json.dumps(
    {
        "version": 1,
        "about": "",
        "records": {
            "shapes": [["t", [f"r{n}" for n in range(5_000)], ["a"], [["\U0001f600" * 6_000]]]],
            "order": [[0, 5_000]],
            "positions": [1, [1]],
            "versions": [1, [1]],
            "owners": [7],
            "to": [None],
        },
    },
    ensure_ascii=False,
).encode()
BODIES = {
    "empty lists": EMPTY_LISTS,
    "odd numbers": ODD_NUMBERS,
    "objects": OBJECTS,
    "wide text": WIDE_TEXT,
    "shared value": SHARED_VALUE,
}


def make_primary(panel: ForkedPanel) -> None:
    """Make ``panel`` a primary with a shared pair, and satellite 7 with a pair of its own."""
    panel.init()
    secret = panel.folder / "secret"
    secret.write_text(PASSWORD, encoding="utf-8")
    panel.shell(
        *("settings", "set", "sync_id=1", "name=National", "store=NAT", "user_name=shared"),
        *(f"password=@{secret}", "sync_interval=1"),
    )
    panel.shell(
        *("servers", "add", "--sync-id=7", "--name=Kadavu", "--store=KDV"),
        *("--user-name=kadavu", f"--password-file={secret}"),
    )


def basic(user_name: str) -> str:
    """Return the header of a pair as satellites send it."""
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    return "Basic " + base64.b64encode(f"{user_name}:{digest}".encode()).decode()


def send(panel: ForkedPanel, path: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send one POST and return the status of its answer."""
    connection = HTTPConnection("127.0.0.1", panel.port, timeout=120)
    try:
        connection.request("POST", path, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had (Linux, proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def open_files(panel: ForkedPanel) -> list[str]:
    """Return what the process of ``panel`` has open (Linux, proc(5))."""
    files = []
    for entry in Path(f"/proc/{panel.pid}/fd").iterdir():
        try:
            files.append(str(entry.readlink()))
        except OSError:
            continue
    return files


@contextmanager
def dribbling_server(pause_seconds: float) -> Iterator[str]:
    """Yield the URL of a server that sends the head of an answer, and then a byte at a time."""
    listener, is_over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def dribble(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not is_over.wait(pause_seconds):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=dribble, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    is_over.set()
    listener.close()
