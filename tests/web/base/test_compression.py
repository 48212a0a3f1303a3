"""Answers travel compressed, refusals too."""

import brotli
import pytest

from tests.web.conftest import Browser


@pytest.mark.parametrize(
    ("address", "status"), [("/", 200), ("/nowhere", 404), ("/servers/7/edit", 404)]
)
def test_a_page_is_compressed_whatever_its_status(
    manager: Browser, address: str, status: int
) -> None:
    answer = manager.get(address, Accept_Encoding="br, gzip")
    assert answer.status_code == status
    assert answer.headers["Content-Encoding"] == "br"
    assert b"</html>" in brotli.decompress(answer.data)


def test_a_refused_form_is_compressed(manager: Browser) -> None:
    sent = {"authorisation_code": "no such code"}
    answer = manager.post("/unlock", sent, Accept_Encoding="br")
    assert answer.status_code == 422
    assert b"This authorisation code is invalid." in brotli.decompress(answer.data)


def test_who_takes_none_gets_none(manager: Browser) -> None:
    answer = manager.get("/", Accept_Encoding="identity")
    assert "Content-Encoding" not in answer.headers
    assert "Accept-Encoding" in answer.headers["Vary"]
