"""What browsers and caches are told, with documents, fragments and files."""

import json
import re

import pytest

from panel.paths import BUILT, MANIFEST
from tests.web.conftest import Browser, MakeApp

DOCUMENTS = ["/", "/people", "/activity", "/nowhere"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_carry_the_strict_policy(manager: Browser, path: str) -> None:
    headers = manager.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    style_hash = json.loads(MANIFEST.read_text())["csp"]["panel.css"]
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": f"'{style_hash}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_hold_nothing_that_the_policy_refuses(manager: Browser, path: str) -> None:
    text = manager.get(path).text
    assert not re.search(r"\s(style|on[a-z]+|hx-on\S*)=", text)
    assert re.findall(r"<script(.*?)>(.*?)</script>", text) == [
        (f' src="/static/{_script()}" defer', "")
    ]


def test_other_sites_may_frame_the_panel_where_the_settings_say_so(
    make_app: MakeApp,
) -> None:
    app = make_app(embed_origins=("https://one.example.org", "https://two.example.org"))
    policy = Browser(app).get("/sign-in").headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://one.example.org https://two.example.org")


def test_a_fragment_has_few_headers_and_is_not_kept(manager: Browser) -> None:
    response = manager.get("/activity", htmx=True, Accept_Encoding="br")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" not in response.headers
    assert sum(len(f"{name}: {value}\r\n") for name, value in response.headers) <= 200


def test_page_and_fragment_are_told_apart_by_caches(manager: Browser) -> None:
    page, fragment = manager.get("/activity"), manager.get("/activity", htmx=True)
    assert "<html" in page.text
    assert "<html" not in fragment.text
    assert {"HX-Request", "Cookie", "Accept-Encoding"} <= set(page.vary)
    # Nobody may keep it, so nothing need be said of which answer is for whom.
    assert fragment.headers["Cache-Control"] == "no-store"
    assert "Vary" not in fragment.headers
    assert page.headers["Cache-Control"] == "private, no-cache"


def test_going_back_in_the_history_gets_the_whole_page(manager: Browser) -> None:
    response = manager.get("/activity", htmx=True, HX_History_Restore_Request="true")
    assert "<html" in response.text
    assert "Content-Security-Policy" in response.headers


OF_PROGRAMS = [
    ("GET", "/healthz"),
    ("GET", "/activity.csv"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1/changes"),
    ("GET", "/api/v1/nothing"),
    ("PATCH", "/api/v1/records/item/a"),
    ("POST", "/sync/exchange"),
    ("GET", "/sync/exchange"),
    ("GET", "/sync/part/0123456789abcdef0123456789abcdef"),
    ("PUT", "/sync/part/0123456789abcdef0123456789abcdef"),
    ("GET", "/sync/v5/site_status"),
    ("POST", "/sync/v5/queued_records"),
    ("GET", "/sync/v5/nothing"),
]


@pytest.mark.parametrize(("method", "path"), OF_PROGRAMS, ids=" ".join)
def test_a_browser_does_not_guess_what_an_answer_is(
    manager: Browser, method: str, path: str
) -> None:
    answer = manager.client.open(path, method=method)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.mimetype in ("application/json", "text/csv")


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_text_is_compressed(manager: Browser, encoding: str) -> None:
    response = manager.get("/activity", Accept_Encoding=f"deflate, zstd, {encoding}")
    assert response.headers["Content-Encoding"] == encoding


@pytest.mark.parametrize("encoding", ["br", "gzip", ""])
def test_the_script_is_ready_compressed_and_never_expires(nobody: Browser, encoding: str) -> None:
    response = nobody.get(f"/static/{_script()}", Accept_Encoding=encoding)
    suffix = {"br": ".br", "gzip": ".gz", "": ""}[encoding]
    assert response.data == (BUILT / (_script() + suffix)).read_bytes()
    assert response.headers.get("Content-Encoding", "") == encoding
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Set-Cookie" not in response.headers


def _script() -> str:
    return str(json.loads(MANIFEST.read_text())["files"]["app.js"])
