"""A small central server of mSupply for the tests: it does as told, and writes down every call."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
Answer = tuple[int, Any]


@dataclass
class Call:
    """One request as it came over the wire."""

    name: str
    headers: dict[str, str]
    body: Any


@dataclass
class CentralServer:
    """What the server has, what it was told, and how it behaves."""

    user_name: str
    password: str
    site_id: int
    uuid: str = "c0ffee00-0000-4000-8000-000000000001"
    central: list[Json] = field(default_factory=list)
    queue: list[Json] = field(default_factory=list)
    # What an initialise queues.
    restored: list[Json] = field(default_factory=list)
    stored: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    # What site_status says next, one after the other; then it is idle.
    statuses: list[str] = field(default_factory=list)
    # By the name of a call, what to answer to it instead, once each.
    instead: dict[str, list[Answer]] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _name: None
    # The names of calls to which it hangs up, as if it had not heard them.
    hang_up: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def add_central(self, record_id: str, data: Json | None, action: str = "insert") -> None:
        change = change_of("item", record_id, data, action)
        self.central.append({"ID": 10 * (len(self.central) + 1), **change})

    def add_queued(self, record_id: str, data: Json | None, action: str = "Update") -> None:
        mark = f"{record_id}-{len(self.queue)}-{len(self.calls)}"
        change = change_of("stock", record_id, data, action)
        self.queue.append({"syncOutId": mark, **change})

    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def answer(self, name: str, query: dict[str, str], call: Call) -> Answer:
        if self.instead.get(name):
            return self.instead[name].pop(0)
        if error := self._wrong_pair(call.headers):
            return error
        answers: dict[str, Callable[[], Answer]] = {
            "GET site": self._site,
            "GET site_status": self._status,
            "POST initialise": self._initialise,
            "GET central_records": lambda: self._central(query),
            "GET queued_records": lambda: self._queued(query),
            "POST queued_records": lambda: self._push(call.body),
            "POST acknowledged_records": lambda: self._acknowledge(call.body),
        }
        return answers[name]() if name in answers else (404, "<html>nothing here</html>")

    def _wrong_pair(self, headers: dict[str, str]) -> Answer | None:
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        pair = base64.b64encode(f"{self.user_name}:{digest}".encode()).decode()
        if headers.get("authorization") == f"Basic {pair}":
            return None
        return error("site_incorrect_password", 401)

    def _site(self) -> Answer:
        return 200, {
            "id": self.uuid,
            "siteId": self.site_id,
            "code": "KDV-01",
            "name": "Kadavu",
            "initialisationStatus": "new",
            "isOmSupplyCentralServer": True,
            "omSupplyCentralServerUrl": "",
            "mSupplyCentralSiteId": 1,
        }

    def _status(self) -> Answer:
        code = self.statuses.pop(0) if self.statuses else "idle"
        return 200, {"code": code, "message": "", "data": None}

    def _initialise(self) -> Answer:
        self.queue = list(self.restored)
        return 200, {"queueLength": len(self.queue)}

    def _central(self, query: dict[str, str]) -> Answer:
        cursor, limit = int(query["cursor"]), int(query["limit"])
        data = [record for record in self.central if record["ID"] > cursor][:limit]
        newest = self.central[-1]["ID"] if self.central else 0
        return 200, {"maxCursor": max(cursor, newest), "data": data}

    def _queued(self, query: dict[str, str]) -> Answer:
        data = self.queue[: int(query["limit"])]
        return 200, {"queueLength": len(self.queue), "data": data}

    def _push(self, body: Json) -> Answer:
        for change in body["data"]:
            assert change["action"].lower() in ("insert", "update", "delete", "merge")
            self.stored[change["recordId"]] = change.get("recordData")
        return 200, {"integrationStarted": body["queueLength"] == 0}

    def _acknowledge(self, body: Json) -> Answer:
        self.queue = [one for one in self.queue if one["syncOutId"] not in body["syncIDs"]]
        return 204, None


def change_of(table: str, record_id: str, data: Json | None, action: str) -> Json:
    change = {"tableName": table, "recordId": record_id, "action": action}
    return change if data is None else {**change, "recordData": data}


def error(code: str, status: int, data: Any = None) -> Answer:
    """Return an error in v5's one shape."""
    return status, {"error": {"code": code, "message": f"{code}!", "data": data}}


def serve(central: CentralServer) -> ThreadingHTTPServer:
    """Serve ``central`` on a free port of this machine, until ``shutdown``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(central))
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def _handler(central: CentralServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer in one piece: in two, the second waits for the first to be confirmed.
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            name = f"{self.command} {parts.path.removeprefix('/sync/v5/')}"
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            text = self.rfile.read(int(headers.get("content-length", 0)))
            body = (
                json.loads(text) if text and name.startswith("POST") and "/" not in name else None
            )
            if name in central.hang_up:
                self.close_connection = True
                return
            # Outside of the lock: while one call takes long, others are answered.
            central.before(name)
            with central.lock:
                call = Call(name, headers, body)
                central.calls.append(call)
                status, answer = central.answer(name, query, call)
            self._send(status, answer)

        def _send(self, status: int, answer: Any) -> None:
            text = answer if isinstance(answer, str) else json.dumps(answer)
            content = b"" if status == 204 else gzip.compress(text.encode())
            self.send_response(status)
            if content:
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Write nothing to the terminal."""

    return Handler
