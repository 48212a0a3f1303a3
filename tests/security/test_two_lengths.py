"""A body with two lengths, which a proxy before the panel could read in another way."""

import socket
from collections.abc import Iterator

import pytest

from tests.security.attacked import make_primary
from tests.support.processes import ForkedPanel

WAIT_SECONDS = 30


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedPanel]:
    panel = ForkedPanel(tmp_path_factory.mktemp("primary"))
    make_primary(panel)
    panel.start()
    yield panel
    panel.stop()


def answers_to(panel: ForkedPanel, text: str) -> bytes:
    """Return everything that comes until the panel closes the connection."""
    with socket.create_connection(("127.0.0.1", panel.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(text.encode())
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path", ["/sync/exchange", "/sign-in"])
def test_a_body_with_two_lengths_is_refused_and_its_connection_closed(
    primary: ForkedPanel, version: str, path: str
) -> None:
    smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    received = answers_to(
        primary,
        f"POST {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n"
        f"Content-Length: {len(smuggled) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"0\r\n\r\n{smuggled}",
    )
    head = received.partition(b"\r\n\r\n")[0].lower()
    assert head.split(b"\r\n")[0].endswith(b" 400 bad request")
    assert received.lower().count(b"http/1.") == 1
    assert b"content-type: text/plain" in head
    assert b"x-content-type-options: nosniff" in head


def test_one_of_the_two_is_enough(primary: ForkedPanel) -> None:
    received = answers_to(
        primary,
        "POST /sync/exchange HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    )
    assert b"site_name_not_found" in received


@pytest.mark.parametrize("before", ["", f"{70_000:x}\r\n{'a' * 70_000}\r\n"], ids=["", "refused"])
@pytest.mark.parametrize("endless", ["1;a=", "0\r\nA: "], ids=["size", "trailer"])
def test_a_size_of_a_chunk_without_an_end_is_not_kept(
    primary: ForkedPanel, before: str, endless: str
) -> None:
    received = answers_to(
        primary,
        "POST /sync/exchange HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{before}{endless}{'a' * 5_000}",
    )
    assert b" 400 bad request" in received.lower()
