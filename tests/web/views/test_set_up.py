"""The set-up link: once, on an empty database, and gone after that."""

import re

import pytest
from flask import Flask

from panel.web.base.context import installation_of
from tests.support.cast import CODE, PASSWORD
from tests.web.conftest import Browser, Happened, MakeApp

VALUES = {"name": "asha", "password": PASSWORD, "code": CODE}


@pytest.fixture
def empty_app(make_app: MakeApp) -> Flask:
    """An application on a database in which nobody was added yet."""
    return make_app(peopled=False)


@pytest.fixture
def link(empty_app: Flask) -> str:
    return f"/set-up/{installation_of(empty_app).set_up_token}"


@pytest.fixture
def operator(empty_app: Flask) -> Browser:
    return Browser(empty_app)


def test_the_first_person_may_do_everything_and_has_the_code(operator: Browser, link: str) -> None:
    assert operator.get(link).status_code == 200
    response = operator.post(link, VALUES)
    assert (response.status_code, response.location) == (303, "/")
    assert operator.get("/people").status_code == 200
    operator.unlock()
    assert operator.cookie("u")


def test_the_link_works_once(operator: Browser, link: str, empty_app: Flask) -> None:
    operator.post(link, VALUES)
    second = Browser(empty_app)
    assert second.get(link).status_code == 404
    refused = second.post(link, VALUES | {"name": "eve"})
    assert refused.status_code == 404
    assert "This panel is set up already. Sign in." in refused.text
    assert second.sign_in("eve").status_code == 422


def test_every_process_with_the_same_key_knows_the_link(link: str, make_app: MakeApp) -> None:
    other = Browser(make_app(peopled=False))
    assert other.get(link).status_code == 200
    assert other.post(link, VALUES).status_code == 303


def test_with_another_key_it_is_another_link(link: str, make_app: MakeApp) -> None:
    other = Browser(make_app(peopled=False, secret_keys=("another key of 32 letters or more",)))
    refused = other.post(link, VALUES)
    assert refused.status_code == 404
    assert "This is not the set-up link of this panel." in refused.text


@pytest.mark.parametrize("token", ["x", "ä", "a" * 32])
def test_other_tokens_open_nothing(operator: Browser, token: str) -> None:
    assert operator.get(f"/set-up/{token}").status_code == 404
    assert operator.post(f"/set-up/{token}", VALUES).status_code == 404


def test_bad_values_come_back_with_every_reason(operator: Browser, link: str) -> None:
    response = operator.post(link, {"name": " ", "password": "short", "code": "1"})
    assert response.status_code == 422
    assert "A person needs a name." in response.text
    assert response.text.count("At least 10 characters.") == 2
    kept = operator.post(link, VALUES | {"code": "1"})
    assert 'value="asha"' in kept.text
    assert PASSWORD not in kept.text
    typed = re.search(r'name="typed" value="([^"]+)"', kept.text)
    assert typed
    assert not re.search('name="password"[^>]* required', kept.text)
    # Nothing was done by halves: the link is still good.
    again = VALUES | {"password": "", "typed": typed[1]}
    assert operator.post(link, again).status_code == 303
    operator.post("/sign-out")
    assert operator.sign_in("asha").status_code == 303


def test_setting_up_is_a_sign_in(operator: Browser, link: str, happened: Happened) -> None:
    operator.post(link, VALUES)
    (row,) = happened("signed_in")
    assert (row.person, row.address) == ("asha", "127.0.0.1")
