"""Which parts of the page an act brings up to date, on a primary and on a satellite."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask

from panel.web.page.data import PageData
from panel.web.page.fragments import Changed, changed_parts

PRIMARY, SATELLITE = {"primary"}, {"satellite"}
BOTH = PRIMARY | SATELLITE
FIELDS, TEXT = "", "?parameters=text"

# What changed, where, how the parameters stand, and the parts: the first in the form's own place.
ACTS: list[tuple[tuple[Changed, ...], set[str], str, str]] = [
    ((Changed.INTERVAL,), BOTH, FIELDS, "interval state undo"),
    ((Changed.INTERVAL, Changed.PAUSE), BOTH, FIELDS, "interval status undo"),
    ((Changed.PARAMETERS,), PRIMARY, FIELDS, "parameters who self state undo"),
    ((Changed.PARAMETERS,), SATELLITE, FIELDS, "parameters who status rows undo"),
    ((Changed.OWN_URL,), PRIMARY, FIELDS, "state url_field parameters_version undo"),
    ((Changed.OWN_URL,), PRIMARY, TEXT, "state undo"),
    ((Changed.ROW_URL,), PRIMARY, FIELDS, "state undo"),
    ((Changed.PASSWORD,), BOTH, FIELDS, "shared_password parameters_version status undo"),
    ((Changed.ROW,), PRIMARY, FIELDS, "row state undo"),
    ((Changed.ROW,), SATELLITE, FIELDS, "row url_field parameters_version status undo"),
    ((Changed.ROW,), SATELLITE, TEXT, "row status undo"),
    ((Changed.ROW_ADDED,), PRIMARY, FIELDS, "new state added count undo"),
    ((Changed.ROW_ADDED,), SATELLITE, TEXT, "new toolbar status added undo"),
    ((Changed.ROW_CLEARED,), PRIMARY, FIELDS, "row_acts row_version undo"),
    ((Changed.ROWS_REMOVED,), PRIMARY, FIELDS, "question state gone count undo"),
    ((Changed.ROWS_REMOVED,), SATELLITE, FIELDS, "question toolbar status gone undo"),
    ((Changed.ROWS_RESTORED,), PRIMARY, FIELDS, "undo state restored count"),
    ((Changed.APPLICANT_ADDED,), PRIMARY, FIELDS, "applicants state rows count pager undo"),
    ((Changed.SYNC_ASKED,), SATELLITE, FIELDS, "status"),
    ((Changed.SYNC_STOPPED,), SATELLITE, FIELDS, "status"),
    ((Changed.INITIALISE_ASKED,), SATELLITE, FIELDS, "initialise status"),
    ((Changed.UNLOCKED,), BOTH, TEXT, "bar toolbar parameters"),
    # Somebody may be typing in the fields that stand open.
    ((Changed.UNLOCKED,), BOTH, FIELDS, "bar toolbar"),
    ((Changed.LOCKED,), BOTH, FIELDS, "bar parameters"),
    # The code was in the form that was sent.
    ((Changed.ROW, Changed.UNLOCKED), PRIMARY, FIELDS, "row bar toolbar state undo"),
]


@pytest.mark.parametrize(("changes", "where", "address", "parts"), ACTS)
def test_an_act_brings_what_looks_different_and_no_more(
    app: Flask, changes: tuple[Changed, ...], where: set[str], address: str, parts: str
) -> None:
    for role in where:
        with app.test_request_context(f"/{address}"):
            found = changed_parts(_page(role), changes)
        assert [name.removesuffix(".html") for name in found] == parts.split()


def test_every_change_has_a_row_above() -> None:
    assert {change for changes, *_ in ACTS for change in changes} == set(Changed)


def _page(role: str) -> PageData:
    settings = SimpleNamespace(is_primary=role == "primary", is_satellite=role == "satellite")
    screen: Any = SimpleNamespace(first_steps=None, settings=settings)
    return cast(PageData, screen)
