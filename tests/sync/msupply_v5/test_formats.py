"""A central server hands back what a site pushed in its own formats, table by table."""

from typing import Any

import pytest

from panel.sync.msupply_v5.codec import FORMATS, as_handed_back
from tests.support.remote_site import RemoteSite, change_of

DATE = "2026-05-18T00:00:00", "2026-05-18"
TIME = "01:02:03", 3_723
ZERO = None, 0
JSON = '{"dose": 1.5, "of": ["a"]}', {"dose": 1.5, "of": ["a"]}
# Every table and field that comes back in another form: pushed, handed back.
ROWS = [
    ("transact", ("entry_date",), DATE),
    ("transact", ("entry_time", "confirm_time", "finalised_time"), TIME),
    ("transact", ("insuranceDiscountAmount", "insuranceDiscountRate"), ZERO),
    ("requisition", ("date_entered",), DATE),
    ("Stock_take", ("stock_take_created_date",), DATE),
    ("Stock_take", ("stock_take_time",), TIME),
    ("vaccine_vial_monitor_status_log", ("date",), DATE),
    ("vaccine_vial_monitor_status_log", ("time",), TIME),
    ("location_movement", ("enter_time", "exit_time"), TIME),
    ("sensor", ("lastConnectionTime",), TIME),
    ("temperature_breach", ("start_time", "end_time"), TIME),
    ("temperature_log", ("time",), TIME),
    ("message", ("createdTime",), TIME),
    (
        "purchase_order",
        ("agent_commission", "document_charge", "communications_charge", "insurance_charge"),
        ZERO,
    ),
    ("purchase_order", ("freight_charge", "curr_rate"), ZERO),
    ("purchase_order_line", ("quan_adjusted_order",), ZERO),
    ("om_document", ("data",), JSON),
]
FIELDS = [(table, field, *values) for table, fields, values in ROWS for field in fields]


@pytest.mark.parametrize(("table", "field", "pushed", "handed_back"), FIELDS)
def test_a_field_comes_back_as_the_central_server_has_it(
    table: str, field: str, pushed: Any, handed_back: Any
) -> None:
    assert as_handed_back(table, {field: pushed, "ID": "x"}) == {field: handed_back, "ID": "x"}
    # It may be in that form already.
    assert as_handed_back(table, {field: handed_back}) == {field: handed_back}


def test_no_other_field_changes_its_form() -> None:
    known = {(table, field) for table, fields in FORMATS.items() for field in fields}
    assert known == {(table, field) for table, field, *_ in FIELDS}
    data = {"entry_date": DATE[0], "time": TIME[0], "data": JSON[0], "curr_rate": None}
    assert as_handed_back("item_line", data) == data
    other = {"ship_date": DATE[0], "om_created_datetime": "2026-05-18T01:02:03", "note": None}
    assert as_handed_back("transact", other) == other


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("transact", "entry_date", "2026-13-45T00:00:00"),
        ("transact", "entry_date", "yesterday"),
        ("transact", "entry_date", None),
        ("transact", "entry_date", 7),
        ("transact", "entry_time", "25:00:00"),
        ("transact", "entry_time", "1:02"),
        ("transact", "entry_time", ""),
        ("transact", "entry_time", None),
        ("transact", "insuranceDiscountRate", "null"),
        ("om_document", "data", "{half"),
        ("om_document", "data", '{"price": NaN}'),
        ("om_document", "data", "[" * 100_000),
        ("om_document", "data", None),
    ],
)
def test_a_value_that_cannot_be_read_stays_as_it_is(table: str, field: str, value: Any) -> None:
    assert as_handed_back(table, {field: value}) == {field: value}


def test_a_field_that_is_missing_stays_missing() -> None:
    assert as_handed_back("transact", {"ID": "x"}) == {"ID": "x"}


def test_a_restored_site_gets_what_it_can_read(site: RemoteSite) -> None:
    invoice = {"ID": "t1", "entry_date": DATE[0], "entry_time": TIME[0], "status": "nw"}
    site.push(change_of("t1", invoice, table="transact"))
    site.initialise()
    site.pull_queued()
    assert site.records["t1"] == {**invoice, "entry_date": DATE[1], "entry_time": TIME[1]}


def test_a_satellite_of_ours_gets_back_what_it_sent(site: RemoteSite) -> None:
    ours = RemoteSite(site.client, app_name="Sync Panel")
    invoice = {"entry_date": DATE[0], "entry_time": TIME[0]}
    ours.push(change_of("t1", invoice, table="transact"))
    ours.initialise()
    ours.pull_queued()
    assert ours.records["t1"] == invoice
