"""A proxy that a test misuses: it sends a request again, or answers in the primary's place."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Request = tuple[dict[str, str], bytes]
Answer = tuple[int, list[tuple[str, str]], bytes]


class Repeater:
    """Passes exchanges on to a primary, and keeps each request.

    What is in ``instead`` is answered first, a body each, and the primary hears nothing.
    """

    def __init__(self, port: int) -> None:
        self.sent: list[Request] = []
        self.instead: list[bytes] = []
        self._port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def answer(self, request: Request) -> Answer:
        """Return what comes back to the satellite."""
        self.sent.append(request)
        if self.instead:
            return 200, [], self.instead.pop(0)
        return _send(self._port, request)

    def repeat(self, number: int) -> None:
        """Send a request that was sent before once more."""
        _send(self._port, self.sent[number])

    def close(self) -> None:
        """Hang up."""
        self._server.shutdown()
        self._server.server_close()


def _handler(repeater: Repeater) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, content = repeater.answer((dict(self.headers), body))
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() in ("content-encoding", "content-length"):
                    self.send_header(name, value)
            if not headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _send(port: int, request: Request) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/sync/exchange", request[1], request[0])
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.getheaders(), content
