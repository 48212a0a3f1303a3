"""The address of the status line: made and ended by who manages the panel, behind the lock."""

import re

import pytest
from flask import Flask

from tests.support.cast import CODE, MANAGER, VIEWER
from tests.web.conftest import Browser, Happened, signed_in

PAGE = "/sync/status-line"


def test_a_manager_makes_the_address_behind_the_lock_and_sees_it_once(
    manager: Browser, nobody: Browser, happened: Happened
) -> None:
    assert "It has no address" in manager.get(PAGE).text
    asked = manager.post(PAGE)
    assert asked.status_code == 403
    assert "Authorisation code" in asked.text
    made = manager.post(PAGE, {"authorisation_code": CODE})
    found = re.search(r"http://localhost(/status/[\w-]{32}/)<", made.text)
    assert found
    assert made.headers["Cache-Control"] == "no-store"
    assert nobody.get(found[1]).status_code == 200
    assert found[1] not in manager.get(PAGE).text
    assert "It has an address." in manager.get(PAGE).text
    assert manager.post(f"{PAGE}/revoke").status_code == 303
    assert nobody.get(found[1]).status_code == 404
    rows = [row.what for row in happened() if row.what.startswith("status_address")]
    assert rows == ["status_address_revoked", "status_address_made"]
    assert happened("status_address_made")[0].person == MANAGER


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/revoke"])
def test_nobody_else_makes_or_ends_it(app: Flask, path: str) -> None:
    viewer = signed_in(app, VIEWER)
    assert viewer.post(path, {"authorisation_code": CODE}).status_code == 403
    assert viewer.get(PAGE).status_code == 403
