"""No other site makes a signed-in browser act here."""

import pytest
from flask import Flask

from tests.support.cast import MANAGER, PASSWORD, VIEWER
from tests.web.conftest import Browser

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "panel.example.org"}


@pytest.mark.parametrize("token", ["", "x", "AAAA", "====", "ä", "A" * 88])
def test_without_the_pages_token_nothing_is_done(manager: Browser, token: str) -> None:
    response = manager.client.post("/people", data={"_c": token, "name": "eve"})
    assert response.status_code == 400
    assert "Load the page again" in response.text
    assert "<b>eve</b>" not in manager.get("/people").text


def test_htmx_sends_it_as_a_header(manager: Browser) -> None:
    headers = {"HX-Request": "true"}
    refused = manager.client.post("/sign-out", headers=headers)
    assert (refused.status_code, refused.headers["HX-Retarget"]) == (400, "#notice")
    assert manager.post("/sign-out", htmx=True).status_code == 204


def test_a_token_looks_different_on_every_page(manager: Browser) -> None:
    one, other = manager.new_token(), manager.new_token()
    alike = sum(a == b for a, b in zip(one, other, strict=True))
    assert alike < len(one) / 2


def test_a_page_is_good_again_after_signing_in_again(manager: Browser) -> None:
    page = manager.token()
    manager.post("/sign-out")
    manager.sign_in(MANAGER)
    assert manager.client.post("/sign-out", data={"_c": page}).status_code == 303


def test_a_page_of_another_person_is_not_good(manager: Browser) -> None:
    page = manager.token()
    manager.post("/sign-out")
    manager.sign_in(VIEWER)
    assert manager.client.post("/sign-out", data={"_c": page}).status_code == 400


def test_a_sign_in_form_left_open_too_long_keeps_the_name(nobody: Browser) -> None:
    response = nobody.client.post("/sign-in", data={"name": MANAGER, "password": "secret word"})
    assert response.status_code == 400
    assert f'value="{MANAGER}"' in response.text
    assert "secret word" not in response.text
    assert "Load the page again" in response.text


def test_what_the_browser_calls_cross_site_is_refused(manager: Browser) -> None:
    assert manager.post("/sign-out", Sec_Fetch_Site="cross-site").status_code == 400
    assert manager.post("/sign-out", Sec_Fetch_Site="same-origin").status_code == 303


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        ("https://panel.example.org/people", 303),
        ("https://evil.example.org/", 400),
        ("http://panel.example.org/", 400),
        ("", 400),
        ("https://[", 400),
        ("https://panel.example.org:port/", 400),
    ],
)
def test_under_https_the_referer_counts_too(app: Flask, referer: str, status: int) -> None:
    browser = Browser(app, **HTTPS)
    values = {"name": MANAGER, "password": PASSWORD}
    response = browser.post("/sign-in", values, Referer=referer)
    assert response.status_code == status
