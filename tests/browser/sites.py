"""Other sites around the panel: https for it, pages that frame it, a reverse proxy before it."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trustme
from flask import Flask, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Two names of one site, and two others: one that the panel lists, and one that it does not.
PANEL, SAME_SITE = "sync.fiji.test", "www.fiji.test"
LISTED, UNLISTED = "ministry.test", "stranger.test"
NAMES = (PANEL, SAME_SITE, LISTED, UNLISTED)


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Leave the tests' output alone."""


@contextmanager
def serve_https(app: "WSGIApplication") -> Iterator[int]:
    """Serve ``app`` under all of the names; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(*NAMES).configure_cert(context)
    server: BaseWSGIServer = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, ssl_context=context
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


class HostPages:
    """The pages of other sites: ``/`` with the line of the documents, ``/plain`` with a mere frame.

    The query of ``/`` holds further attributes of the line. ``/status`` has the status line.
    """

    def __init__(self) -> None:
        self.panel_url = self.status_url = ""
        self.app = Flask("host pages")
        self.app.add_url_rule("/", view_func=self._with_script)
        self.app.add_url_rule("/plain", view_func=self._with_frame)
        self.app.add_url_rule("/status", view_func=self._with_status_line)

    def _with_script(self) -> str:
        wanted = {"title": "The panel", **request.args}
        attributes = "".join(f' data-{name}="{value}"' for name, value in wanted.items())
        return self._page(f'<script src="{self.panel_url}static/embed.js"{attributes}></script>')

    def _with_frame(self) -> str:
        return self._page(f'<iframe src="{self.panel_url}?embed=1" title="The panel"></iframe>')

    def _with_status_line(self) -> str:
        look = request.query_string.decode()
        return self._page(
            f'<iframe src="{self.status_url}?{look}" title="Synchronisation" height="32"></iframe>'
            f'<p><img src="{self.status_url}status.svg?{look}" alt="Synchronisation"></p>'
        )

    def _page(self, panel: str) -> str:
        return (
            f'<!doctype html><html lang="en"><title>{request.host}</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f'<body style="background: wheat"><h1>Our intranet</h1>{panel}<p>Below it.</p>'
        )


class _ReverseProxy(BaseHTTPRequestHandler):
    """Passes what is below ``/sync/`` on, without that prefix, and says so in headers."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_GET(self) -> None:
        if not self.path.startswith("/sync/"):
            self.send_error(404, "Not below the prefix")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {**dict(self.headers.items()), "X-Forwarded-Prefix": "/sync"}
        connection = HTTPConnection(self.upstream)
        connection.request(self.command, self.path.removeprefix("/sync"), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Leave the tests' output alone."""


@contextmanager
def serve_below_sync(panel_url: str) -> Iterator[str]:
    """Yield the URL below which a reverse proxy serves the panel."""
    handler = type("Handler", (_ReverseProxy,), {"upstream": urlsplit(panel_url).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/sync/"
        server.shutdown()
        thread.join()
