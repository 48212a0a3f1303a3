"""Tokens of applications: shown once, kept as a hash, ended at once."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from panel import clock
from panel.accounts.tokens import (
    add_token,
    find_token,
    last_used_is_outdated,
    list_tokens,
    revoke_token,
)
from panel.activity.log import Actor
from panel.errors import Invalid, NotFound
from panel.models.people import Activity, Token

SOMEBODY = Actor("asha")


def test_a_new_token_is_found_and_only_its_hash_is_kept(session: Session) -> None:
    secret = add_token(session, SOMEBODY, " Dispensary ")
    found = find_token(session, secret)
    assert found is not None
    assert found.name == "Dispensary"
    assert secret not in str(vars(found))


def test_a_token_that_was_never_given_out_is_not_found(session: Session) -> None:
    add_token(session, SOMEBODY, "Dispensary")
    assert find_token(session, "sync_guess") is None


def test_a_revoked_token_ends_at_once_and_stays_in_the_list(session: Session) -> None:
    secret = add_token(session, SOMEBODY, "Dispensary")
    revoke_token(session, SOMEBODY, "Dispensary")
    assert find_token(session, secret) is None
    assert [token.revoked_at is not None for token in list_tokens(session)] == [True]


@pytest.mark.both_databases
def test_the_name_of_a_revoked_token_may_be_given_again(session: Session) -> None:
    old = add_token(session, SOMEBODY, "Dispensary")
    revoke_token(session, SOMEBODY, "Dispensary")
    new = add_token(session, SOMEBODY, "Dispensary")
    assert find_token(session, new) is not None
    assert find_token(session, old) is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\nb"])
def test_a_name_nobody_could_read_is_refused(session: Session, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        add_token(session, SOMEBODY, name)
    assert set(refusal.value.problems) == {"name"}


def test_a_name_in_use_is_refused(session: Session) -> None:
    add_token(session, SOMEBODY, "Dispensary")
    with pytest.raises(Invalid):
        add_token(session, SOMEBODY, "Dispensary")


def test_revoking_what_is_not_there_is_refused(session: Session) -> None:
    with pytest.raises(NotFound):
        revoke_token(session, SOMEBODY, "Dispensary")


def test_both_leave_a_row_without_the_secret(session: Session) -> None:
    secret = add_token(session, SOMEBODY, "Dispensary")
    revoke_token(session, SOMEBODY, "Dispensary")
    rows = session.scalars(select(Activity).order_by(Activity.id)).all()
    assert [(row.what, row.person, row.label) for row in rows] == [
        ("token_added", "asha", "Dispensary"),
        ("token_revoked", "asha", "Dispensary"),
    ]
    assert not any(secret in str(vars(row)) for row in rows)


def test_last_used_is_written_at_most_once_an_hour() -> None:
    moment = clock.now()
    token = Token(name="Dispensary", last_used_at=None)
    assert last_used_is_outdated(token, moment)
    token.last_used_at = moment - timedelta(minutes=59)
    assert not last_used_is_outdated(token, moment)
    token.last_used_at = moment - timedelta(hours=1)
    assert last_used_is_outdated(token, moment)
