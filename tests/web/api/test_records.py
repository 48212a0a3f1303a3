"""Applications put, get, list, delete and follow records through the API."""

import gzip
import json
from http import HTTPStatus
from typing import Any

import brotli
import pytest
from werkzeug.test import TestResponse

from panel.accounts.tokens import list_tokens, revoke_token
from panel.activity.log import Actor
from panel.db import Database
from panel.models.settings import Settings
from panel.preferences.server_fields import ServerFields
from panel.preferences.servers import add_server
from panel.sync.store.records import put_record
from panel.web.api import records as api
from panel.web.api import records as bearer
from tests.support.records_api import WRITTEN_NUMBERS
from tests.web.api.conftest import Application


def error_of(response: TestResponse) -> tuple[int, str]:
    """Return the status and the code of an error, which has one shape and says more in words."""
    (error,) = response.get_json().values()
    with_fields = {"problems"} if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY else set()
    assert set(error) - {"line"} == {"code", "message"} | with_fields
    assert error["message"]
    return response.status_code, error["code"]


def test_a_record_comes_back_as_it_was_put(application: Application) -> None:
    data = {"name": "Amoxicillin 250 mg", "prices": [1.5, None, {"currency": "FJD"}]}
    put = application.put("item/a", data)
    assert put.status_code == 200
    assert application.get("/records/item/a") == put.get_json()
    record = put.get_json()
    assert record.pop("changed_at")
    assert put.headers["ETag"] == f'"{record.pop("version")}"'
    assert record == {
        "table": "item",
        "id": "a",
        "owner": 1,
        "to": None,
        "deleted": False,
        "data": data,
    }


def test_numbers_come_back_as_they_were_written(application: Application) -> None:
    data = f'{{"numbers":[{",".join(WRITTEN_NUMBERS)}],"one":{{"price":10.50}}}}'.encode()
    response = application.call("PUT", "/records/item/a", data=b'{"data": ' + data + b"}")
    assert data in response.data
    for path in ("/records/item/a", "/records/item", "/changes"):
        assert data in application.call("GET", path).data
    # Nothing changed: the comparison is on what was written.
    before = application.call("GET", "/changes").data
    application.call("PUT", "/records/item/a", data=b'{"data": ' + data + b"}")
    assert application.call("GET", "/changes").data == before


@pytest.mark.both_databases
@pytest.mark.parametrize("record_id", ["a/b", "a b", "é", "..%2E", "100%", "a//b", "x/", "/x"])
def test_ids_may_have_odd_characters(application: Application, record_id: str) -> None:
    path = record_id.replace("%", "%25").replace("/", "%2F")
    assert application.put(f"item/{path}", {}).get_json()["id"] == record_id
    assert application.get(f"/records/item/{path}")["id"] == record_id


def test_a_deleted_record_is_gone_and_deleting_it_again_is_no_error(
    application: Application,
) -> None:
    application.put("item/a", {})
    for _ in range(2):
        response = application.call("DELETE", "/records/item/a")
        assert (response.status_code, response.data) == (204, b"")
    assert error_of(application.call("GET", "/records/item/a")) == (404, "not_found")
    assert error_of(application.call("DELETE", "/records/item/b")) == (404, "not_found")


@pytest.mark.both_databases
def test_a_list_goes_on_where_the_page_before_ended(application: Application) -> None:
    for one in "dbace":
        application.put(f"item/{one}", {})
    application.put("stock/f", {})
    first = application.get("/records/item?limit=3")
    assert ([record["id"] for record in first["records"]], first["next"]) == (["a", "b", "c"], "c")
    last = application.get("/records/item?limit=3&after=c")
    assert ([record["id"] for record in last["records"]], last["next"]) == (["d", "e"], None)


def test_a_page_of_large_records_ends_early(application: Application) -> None:
    for one in "abcdefghi":
        application.put(f"item/{one}", {"text": "x" * 1_000_000})
    page = application.get("/records/item")
    assert (len(page["records"]), page["next"]) == (8, "h")
    assert [one["id"] for one in application.get("/records/item?after=h")["records"]] == ["i"]


@pytest.mark.both_databases
def test_changes_are_followed_without_a_gap(application: Application) -> None:
    for one in "abc":
        application.put(f"item/{one}", {})
    page = application.get("/changes?limit=2")
    assert ([change["id"] for change in page["changes"]], page["more"]) == (["a", "b"], True)
    application.put("item/a", {"changed": True})
    application.call("DELETE", "/records/item/b")
    page = application.get(f"/changes?since={page['cursor']}")
    assert [(change["id"], change["deleted"]) for change in page["changes"]] == [
        ("c", False),
        ("a", False),
        ("b", True),
    ]
    assert page["more"] is False
    assert application.get(f"/changes?since={page['cursor']}")["changes"] == []


@pytest.mark.both_databases
def test_many_are_written_at_once_or_none(application: Application) -> None:
    records: list[dict[str, Any]] = [
        {"table": "item", "id": one, "data": {"name": one}} for one in "abc"
    ]
    response = application.call("POST", "/records", json={"records": records})
    assert response.get_json() == {"changed": 3}
    records[0]["data"] = {"name": "changed"}
    records.append({"table": "item", "id": "never there", "deleted": True})
    response = application.call("POST", "/records", json={"records": records})
    assert error_of(response) == (404, "not_found")
    assert application.get("/records/item/a")["data"] == {"name": "a"}


GOOD = {"table": "item", "id": "a", "data": {}}


@pytest.mark.parametrize(
    ("bad", "code", "fields"),
    [
        (3, "invalid", {"record"}),
        ({"table": "item", "id": "b"}, "invalid", {"data"}),
        ({**GOOD, "price": 3}, "invalid", {"price"}),
        ({"table": "i" * 101, "id": "b\nc", "data": {}}, "invalid", {"table", "id"}),
        ({**GOOD, "to": 8}, "invalid", {"to"}),
        ({**GOOD, "id": "theirs"}, "owned_by_another", set()),
        ({"table": "item", "id": "never there", "deleted": True}, "not_found", set()),
        ({**GOOD, "id": "b", "owner": 8}, "owner_unknown", set()),
    ],
)
def test_of_many_the_refused_one_is_named_with_its_fields(
    application: Application, database: Database, bad: Any, code: str, fields: set[str]
) -> None:
    with database.writing() as session:
        put_record(session, 7, "item", "theirs", {})
    lines = [{**GOOD, "id": "first"}, GOOD, bad, GOOD]
    response = application.call("POST", "/records", json={"records": lines})
    error = response.get_json()["error"]
    assert (error["code"], error["line"], set(error.get("problems", {}))) == (code, 3, fields)
    assert error["message"].startswith("Line 3: ")
    assert [one["id"] for one in application.get("/records/item")["records"]] == ["theirs"]


def test_of_one_record_no_line_is_named(application: Application) -> None:
    assert "line" not in application.put("item/a", {}, to="7").get_json()["error"]


def test_a_record_may_be_addressed_to_another_server_for_good(
    application: Application, database: Database
) -> None:
    response = application.put("item/a", {}, to=7)
    assert error_of(response) == (422, "invalid")
    assert set(response.get_json()["error"]["problems"]) == {"to"}
    with database.writing() as session:
        add_server(session, Actor("asha"), ServerFields(7, "Kadavu Health Centre", "KDV-01"))
    assert application.put("item/a", {}, to=7).get_json()["to"] == 7
    assert application.put("item/a", {"again": True}).get_json()["to"] == 7
    assert error_of(application.put("item/a", {}, to=8)) == (409, "address_fixed")
    assert error_of(application.put("item/b", {}, to=1)) == (422, "invalid")


def test_what_another_server_owns_is_not_written(
    application: Application, database: Database
) -> None:
    with database.writing() as session:
        put_record(session, 7, "item", "theirs", {"name": "theirs"})
    assert error_of(application.put("item/theirs", {})) == (403, "owned_by_another")
    response = application.call("DELETE", "/records/item/theirs")
    assert error_of(response) == (403, "owned_by_another")
    assert application.get("/records/item/theirs")["data"] == {"name": "theirs"}


@pytest.mark.both_databases
def test_a_write_for_another_version_changes_nothing(application: Application) -> None:
    def write(n: int, **conditions: str) -> TestResponse:
        headers = {name.replace("_", "-"): tag for name, tag in conditions.items()}
        return application.call("PUT", "/records/item/a", json={"data": {"n": n}}, headers=headers)

    assert error_of(write(1, If_Match="*")) == (412, "version_differs")
    first = write(1, If_None_Match="*").headers["ETag"]
    assert error_of(write(2, If_None_Match="*")) == (412, "version_differs")
    second = write(2, If_Match=first).headers["ETag"]
    assert second != first
    for stale in (first, f"W/{second}", "", '"x"'):
        assert error_of(write(3, If_Match=stale)) == (412, "version_differs")
    assert application.get("/records/item/a")["data"] == {"n": 2}
    assert write(3, If_Match=f"{first}, {second}").status_code == HTTPStatus.OK


def test_a_record_is_deleted_in_the_version_that_was_read(application: Application) -> None:
    tag = application.put("item/a", {}).headers["ETag"]
    newer = application.put("item/a", {"n": 1}).headers["ETag"]

    def delete(tag: str) -> TestResponse:
        return application.call("DELETE", "/records/item/a", headers={"If-Match": tag})

    assert error_of(delete(tag)) == (412, "version_differs")
    assert application.get("/records/item/a")["data"] == {"n": 1}
    assert delete(newer).status_code == HTTPStatus.NO_CONTENT
    # There is no such version any more.
    assert error_of(delete(newer)) == (412, "version_differs")


def test_a_wrong_write_is_refused_for_that_in_whatever_version(application: Application) -> None:
    application.put("item/a", {})
    wrong = {"data": {}, "to": 1.5}
    response = application.call(
        "PUT", "/records/item/a", json=wrong, headers={"If-Match": '"another"'}
    )
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert set(response.get_json()["error"]["problems"]) == {"to"}


def test_many_are_not_written_under_a_condition(application: Application) -> None:
    lines = {"records": [{"table": "item", "id": "a", "data": {}}]}
    response = application.call("POST", "/records", json=lines, headers={"If-Match": '"1"'})
    assert set(response.get_json()["error"]["problems"]) == {"If-Match"}
    assert application.get("/changes")["changes"] == []


def test_a_server_without_a_sync_id_owns_nothing(
    application: Application, database: Database
) -> None:
    with database.writing() as session:
        session.get_one(Settings, 1).sync_id = None
    assert error_of(application.put("item/a", {})) == (409, "no_sync_id")
    assert application.get("/changes")["changes"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "body_not_understood"),
        (b"{", 400, "body_not_understood"),
        (b"[]", 400, "body_not_understood"),
        (b'{"data": {}, "version": 3}', 400, "body_not_understood"),
        (b'{"data": {}, "owner": 3}', 409, "owner_unknown"),
        (b'{"data": {}, "owner": "3"}', 422, "invalid"),
        (b"[" * 100_000, 400, "body_not_understood"),
        (b"\xff", 400, "body_not_understood"),
        (b'{"data": 3}', 422, "invalid"),
        (b'{"data": {"weight": NaN}}', 422, "invalid"),
        (b'{"data": {"weight": 1e400}}', 422, "number_out_of_range"),
        (b'{"data": {"weight": 1' + b"0" * 5_000 + b"}}", 422, "number_out_of_range"),
        (b'{"data": {"a": [{"b": 1, "b": 2}]}}', 422, "duplicate_key"),
        (b'{"data": {"a": 1}, "data": {"a": 2}}', 422, "duplicate_key"),
        (b'{"data": {"half": "\\ud800"}}', 422, "invalid"),
        (b'{"data": {}, "to": "7"}', 422, "invalid"),
        (b'{"data": {}, "to": true}', 422, "invalid"),
    ],
)
def test_a_bad_body_is_refused_in_words(
    application: Application, body: bytes, status: int, code: str
) -> None:
    response = application.call("PUT", "/records/item/a", data=body)
    assert error_of(response) == (status, code)
    assert application.get("/changes")["changes"] == []


@pytest.mark.both_databases
@pytest.mark.parametrize("path", ["/records/item/a%00b", "/records/i%00", "/changes?since=%00"])
def test_the_character_nul_is_no_surprise(application: Application, path: str) -> None:
    assert error_of(application.call("GET", path)) == (422, "invalid")


@pytest.mark.parametrize("record_id", ["a%0Ab", "%0Aa", "a%0A", "%0D", "a%2F%0Ab"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_line_break_in_an_id_is_refused_with_its_reason(
    application: Application, method: str, record_id: str
) -> None:
    response = application.call(method, f"/records/item/{record_id}", json={"data": {}})
    assert error_of(response) == (422, "invalid")
    assert set(response.get_json()["error"]["problems"]) == {"id"}


@pytest.mark.parametrize("limit", ["0", "5001", "-1", "x", "", "1e3", "²"])
def test_a_limit_that_is_no_limit(application: Application, limit: str) -> None:
    assert error_of(application.call("GET", f"/changes?limit={limit}")) == (422, "invalid")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W10"])
def test_a_cursor_that_was_never_given_out(application: Application, cursor: str) -> None:
    assert error_of(application.call("GET", f"/changes?since={cursor}")) == (422, "invalid")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_bodies_may_be_compressed(application: Application, encoding: str, pack: Any) -> None:
    response = application.call(
        "PUT",
        "/records/item/a",
        data=pack(b'{"data": {"name": "packed"}}'),
        headers={"Content-Encoding": encoding},
    )
    assert response.get_json()["data"] == {"name": "packed"}


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("compress", b"{}", 415, "encoding_not_understood"),
        ("gzip", b'{"data": {}}', 400, "body_not_understood"),
        ("br", b"", 400, "body_not_understood"),
    ],
)
def test_a_body_that_is_not_what_its_encoding_says(
    application: Application, encoding: str, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Encoding": encoding}
    response = application.call("PUT", "/records/item/a", data=body, headers=headers)
    assert error_of(response) == (status, code)


def test_a_record_has_at_most_a_mebibyte(application: Application) -> None:
    fitting = {"text": "x" * (1024 * 1024 - len('{"text":""}'))}
    assert application.put("item/a", fitting).status_code == 200
    assert error_of(application.put("item/b", {"text": fitting["text"] + "x"})) == (422, "invalid")


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_request_has_a_limit_after_decompression(
    application: Application, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(api, "LARGEST_REQUEST_BYTES", 10_000)
    body = json.dumps({"data": {"text": "x" * 10_000}}).encode()
    response = application.call(
        "PUT",
        "/records/item/a",
        data=gzip.compress(body) if encoding else body,
        headers={"Content-Encoding": encoding} if encoding else {},
    )
    assert error_of(response) == (413, "body_too_large")


INVALID = 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("header", "code", "challenge"),
    [
        ("", "token_needed", "Bearer"),
        ("Bearer", "token_needed", "Bearer"),
        ("Basic YTpi", "token_needed", "Bearer"),
        ("Bearer wrong", "token_unknown", INVALID),
        ("bearer sync_x", "token_unknown", INVALID),
    ],
)
def test_nothing_is_told_without_a_token(
    application: Application, header: str, code: str, challenge: str
) -> None:
    for method, path in (("GET", "/changes"), ("PUT", "/records/item/a"), ("POST", "/records")):
        headers = {"Authorization": header}
        response = application.call(method, path, headers=headers)
        assert error_of(response) == (401, code)
        assert response.headers["WWW-Authenticate"] == challenge


def test_a_revoked_token_ends_at_once(application: Application, database: Database) -> None:
    application.get("/changes")
    with database.writing() as session:
        assert list_tokens(session)[0].last_used_at is not None
        revoke_token(session, Actor("asha"), "Dispensary")
    assert error_of(application.call("GET", "/changes")) == (401, "token_unknown")


@pytest.mark.both_databases
def test_a_token_revoked_while_it_is_used_stays_revoked(
    application: Application, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked_meanwhile(*_: object) -> bool:
        with database.writing() as session:
            revoke_token(session, Actor("asha"), "Dispensary")
        return True

    with monkeypatch.context() as patch:
        patch.setattr(bearer, "last_used_is_outdated", revoked_meanwhile)
        application.call("GET", "/changes")
    assert error_of(application.call("GET", "/changes")) == (401, "token_unknown")
    with database.reading() as session:
        (token,) = list_tokens(session)
    assert (token.revoked_at is not None, token.last_used_at) == (True, None)


@pytest.mark.both_databases
def test_a_table_that_is_emptied_while_it_is_listed(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "list_records", lambda *_: ([], True))
    assert application.get("/records/item") == {"records": [], "next": None}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PATCH", "/records/item/a", 405), ("POST", "/changes", 405)],
)
def test_what_is_not_there_is_said_in_the_same_shape(
    application: Application, method: str, path: str, status: int
) -> None:
    response = application.call(method, path, headers={"Accept": "text/html"})
    assert error_of(response)[0] == status


def test_answers_bring_no_header_that_programs_do_not_need(application: Application) -> None:
    response = application.call("GET", "/changes")
    assert set(response.headers.keys()) == {"Content-Type", "Content-Length"}


def test_the_content_type_of_a_body_does_not_matter(application: Application) -> None:
    # What curl says of every body, unless it is told otherwise.
    form = "application/x-www-form-urlencoded"
    body = b'{"data": {"name": "a&b=c"}}'
    response = application.call("PUT", "/records/item/a", data=body, content_type=form)
    assert response.get_json()["data"] == {"name": "a&b=c"}
