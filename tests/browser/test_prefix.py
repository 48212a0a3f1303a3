"""Behind the intranet's own reverse proxy, below a path: nothing leads out of it."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from panel.config import Config
from tests.browser.serving import Panel
from tests.browser.sites import serve_below_sync
from tests.browser.steps import add_server, sign_in, sign_out, unlock


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, trusted_proxies=(ip_network("127.0.0.1"),))


@pytest.fixture
def panel_below(panel: Panel) -> Iterator[Panel]:
    panel.become_primary([(7, "Kadavu Health Centre", "KDV-01")])
    with serve_below_sync(panel.url) as panel.url:
        yield panel


def test_a_walk_below_a_prefix(either_page: Page, panel_below: Panel) -> None:
    page, asked = either_page, set[str]()
    page.on("request", lambda request: asked.add(request.url))
    sign_in(page, panel_below)
    unlock(page)
    expect(page.get_by_text("Unlocked until")).to_be_visible()
    add_server(page, 8, "Rotuma Hospital", "ROT-01")
    page.get_by_role("link", name="Store").click()
    expect(page.locator("#rows > tr")).to_have_count(2)
    page.get_by_role("link", name="Activity").click()
    expect(page.get_by_text("Rotuma Hospital")).to_be_visible()
    page.get_by_role("link", name="Synchronisation").click()
    page.get_by_role("button", name="Lock now").click()
    expect(page.get_by_role("button", name="Click to un-lock")).to_be_visible()
    sign_out(page)
    beyond = {
        url for url in asked if url.startswith("http") and not url.startswith(panel_below.url)
    }
    assert beyond == set()
    assert {cookie["path"] for cookie in page.context.cookies()} == {"/sync", "/sync/sign-in"}
    assert urlsplit(page.url).path == "/sync/sign-in"
