"""An application of the tests: it reads and writes a server's records through the local API."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

TIMEOUT_SECONDS = 60
Line = dict[str, Any]
# Numbers that Python would write in another way than they are written here.
WRITTEN_NUMBERS = (
    *("12345678901234567.89", "0.1000000000000000055511151231257827", "10.50", "1e5", "1E-400"),
    *("-0", "-0.0", "123456789012345678901234567890", "2.50e+10"),
)


class Unanswered(Exception):
    """The server went away: whether it did what was asked is not known."""


class CursorEnded(Exception):
    """The server began anew (initialise), and so must whoever follows it."""


class Api:
    """One connection to one server, opened again when it broke. Not for several threads."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def put(self, table: str, record_id: str, data: Line, to: int | None = None) -> int:
        """Write a record and return the status of the answer. Raise :class:`Unanswered`."""
        body: Line = {"data": data} if to is None else {"data": data, "to": to}
        return self._send("PUT", _path(table, record_id), body)[0]

    def delete(self, table: str, record_id: str) -> int:
        """Delete a record and return the status of the answer. Raise :class:`Unanswered`."""
        return self._send("DELETE", _path(table, record_id))[0]

    def put_many(self, lines: list[Line]) -> None:
        """Put and delete many at once, all of them or none."""
        status, answer = self._send("POST", "/records", {"records": lines})
        assert status == 200, answer

    def list_all(self, table: str) -> dict[str, Line]:
        """Return the data of every record of ``table`` by id, page after page."""
        found: dict[str, Line] = {}
        after: str | None = ""
        while after is not None:
            path = f"/records/{quote(table)}?limit=100&after={quote(after)}"
            status, answer = self._send("GET", path)
            assert status == 200, answer
            found |= {line["id"]: line["data"] for line in answer["records"]}
            after = answer["next"]
        return found

    def changes(self, since: str) -> tuple[list[Line], str, bool]:
        """Return a page of what changed, the cursor after it, and whether there is more.

        Raise :class:`Unanswered` or :class:`CursorEnded`.
        """
        status, answer = self._send("GET", f"/changes?limit=100&since={since}")
        if status == 410:
            raise CursorEnded
        assert status == 200, answer
        return answer["changes"], answer["cursor"], answer["more"]

    def _send(self, method: str, path: str, body: Line | None = None) -> tuple[int, Line]:
        text = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"/api/v1{path}", text, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Unanswered from error
        return response.status, json.loads(content) if content else {}


def _path(table: str, record_id: str) -> str:
    return f"/records/{quote(table)}/{quote(record_id, safe='')}"
