"""A remote site as the primary sees it: the client's order, headers and bodies, no Content-Type."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Any

from werkzeug.test import Client, TestResponse

SITE_ID, USER_NAME, PASSWORD = 7, "kadavu", "coral letters 1"
Json = dict[str, Any]
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class RemoteSite:
    """An Open mSupply server that synchronises with a central server."""

    client: Client
    user_name: str = USER_NAME
    password: str = PASSWORD
    hardware_id: str = "0f8fad5b-d9cb-469f-a165-70867728950e"
    version: str = "14"
    app_name: str = "Open mSupply Desktop"
    pull_limit: int = 500
    records: dict[str, Json] = field(default_factory=dict)

    def on_another_machine(self) -> "RemoteSite":
        """Return the same site on a machine that has nothing yet."""
        return replace(self, hardware_id="another-machine", records={})

    def with_password(self, password: str) -> "RemoteSite":
        return replace(self, password=password)

    def call(
        self, method: str, path: str, body: Json | None = None, more: Mapping[str, str] = NOTHING
    ) -> TestResponse:
        """Make one call, just as the client does."""
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        pair = base64.b64encode(f"{self.user_name}:{digest}".encode()).decode()
        headers = {
            "authorization": f"Basic {pair}",
            "msupply-site-uuid": self.hardware_id,
            "version": self.version,
            "app-name": self.app_name,
            "app-version": "2.9.1",
            "accept": "*/*",
            "accept-encoding": "gzip",
            **more,
        }
        data = None if body is None else json.dumps(body).encode()
        response = self.client.open(f"/sync/v5/{path}", method=method, headers=headers, data=data)
        assert "CONTENT_TYPE" not in response.request.environ
        return response

    def get(self, path: str) -> Json:
        return _json(self.call("GET", path))

    def post(self, path: str, body: Json) -> Json:
        return _json(self.call("POST", path, body))

    def meet(self) -> None:
        """Ask who it is and go on, as the machine of this site does."""
        self.get("site")
        self.pull_queued()

    # --- the cycle, in the client's order ---------------------------------------------------------

    def initialise(self) -> int:
        """Ask for everything and wait until it is queued; return how much that is."""
        length = int(self.post("initialise", {})["queueLength"])
        self.wait_until_idle()
        return length

    def wait_until_idle(self) -> None:
        assert self.get("site_status")["code"] == "idle"

    def push(self, *changes: Json, batch: int = 1024) -> None:
        """Push batches until nothing is left, then the empty one that begins the integration."""
        left = list(changes)
        while left:
            self.post("queued_records", {"queueLength": len(left), "data": left[:batch]})
            left = left[batch:]
        assert self.post("queued_records", {"queueLength": 0, "data": []}) == {
            "integrationStarted": True
        }
        self.wait_until_idle()

    def pull_central(self, cursor: int = 0) -> tuple[int, int]:
        """Pull central data until it is done; return the new cursor and how many records came."""
        count = 0
        while True:
            path = f"central_records?cursor={cursor}&limit={self.pull_limit}"
            answer = self.get(path)
            assert answer["maxCursor"] >= cursor
            assert len(answer["data"]) <= self.pull_limit
            for change in answer["data"]:
                assert change["ID"] > cursor
                cursor = change["ID"]
                self._keep(change)
            count += len(answer["data"])
            if not answer["data"] and cursor >= answer["maxCursor"]:
                return cursor, count

    def pull_queued(self) -> int:
        """Pull and acknowledge what is queued until nothing is; return how many records came."""
        count = 0
        while True:
            answer = self.get(f"queued_records?limit={self.pull_limit}")
            assert len(answer["data"]) <= min(self.pull_limit, answer["queueLength"])
            if not answer["data"]:
                assert answer["queueLength"] == 0
                return count
            for change in answer["data"]:
                self._keep(change)
            self.acknowledge(*(change["syncOutId"] for change in answer["data"]))
            count += len(answer["data"])

    def acknowledge(self, *ids: str) -> None:
        response = self.call("POST", "acknowledged_records", {"syncIDs": list(ids)})
        assert (response.status_code, response.data) == (204, b"")

    def _keep(self, change: Json) -> None:
        if change["action"] == "delete":
            assert "recordData" not in change
            self.records.pop(change["recordId"], None)
        else:
            self.records[change["recordId"]] = change["recordData"]


def client_of(port: int) -> Client:
    """Return a client of the server at ``port`` of this machine, a process of its own."""

    def forward(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_HOST"
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(environ["REQUEST_METHOD"], path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
        start_response(f"{response.status} {response.reason}", response.getheaders())
        return [content]

    return Client(forward)


def change_of(
    record_id: str, data: Json | None, action: str = "Insert", table: str = "stock"
) -> Json:
    """Return one entry of a push, as the client writes it."""
    entry = {"syncOutId": "1", "tableName": table, "recordId": record_id, "action": action}
    return entry if data is None else {**entry, "recordData": data}


def error_of(response: TestResponse) -> tuple[int, str]:
    """Return the status and the code of an error in v5's one shape."""
    error = _decoded(response)["error"]
    assert set(error) == {"code", "message", "data"}
    assert error["message"]
    return response.status_code, error["code"]


def message_of(response: TestResponse) -> str:
    """Return what an error says to the person at the site."""
    message: str = _decoded(response)["error"]["message"]
    return message


def _json(response: TestResponse) -> Json:
    assert response.status_code == 200, response.data
    assert response.mimetype == "application/json"
    return _decoded(response)


def _decoded(response: TestResponse) -> Json:
    packed = response.headers.get("Content-Encoding") == "gzip"
    answer: Json = json.loads(gzip.decompress(response.data) if packed else response.data)
    return answer
