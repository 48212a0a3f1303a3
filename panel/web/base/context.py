"""The installation and the set-up link of a Flask app, and the database sessions of a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from flask import Flask, Response, current_app, g
from sqlalchemy.orm import Session

from panel.db import Database
from panel.installation import Installation
from panel.models.settings import read_settings

# How long a page waits for the write of what it shows, where the database is busy.
_PATIENCE_SECONDS = 0.2
_INSTALLATION = "panel"


def init_context(app: Flask, installation: Installation) -> None:
    """Store ``installation`` on ``app``; close the sessions of its requests.

    Call it before other modules add an ``after_request``: Flask runs the first one last, and the
    others may still read the database.
    """
    app.extensions[_INSTALLATION] = installation
    app.jinja_env.globals["own_name"] = own_name
    app.after_request(_end_answer)
    app.teardown_request(_end_request)


def installation_of(app: Flask) -> Installation:
    """Return the installation of ``app``, outside a request."""
    return cast(Installation, app.extensions[_INSTALLATION])


def installation() -> Installation:
    """Return the installation of the current request's application."""
    return installation_of(current_app)


def reading() -> Session:
    """Return the session in which the current request reads; the first call opens it.

    It is one transaction, so rows that were read once stay the same. Within :func:`writing` it is
    the session that writes, so that a fragment rendered there shows what is about to be saved.
    """
    if "session" not in g:
        database = installation().database
        database.write_memories(_PATIENCE_SECONDS)
        g.session = database.open_reader()
    return cast(Session, g.session)


def own_name() -> str:
    """Return the name of this server, which every page says; "" if it has none or hides it."""
    if "hides_name" in g:
        return ""
    return read_settings(reading()).name


def hide_name() -> None:
    """Leave the name out of this answer: the database failed, or no stranger is to learn it."""
    g.hides_name = True


def close_reading() -> None:
    """Close the session in which the current request reads; :func:`reading` opens a new one.

    Call it before the request waits for anything else than the database.
    """
    session: Session | None = g.pop("session", None)
    if session is not None:
        session.close()


def lend_database() -> Database:
    """Close what the request reads, and return the database for a verb that commits by itself.

    What the verb writes would not be seen in the transaction that the request read in before.
    """
    close_reading()
    return installation().database


@contextmanager
def writing() -> Iterator[Session]:
    """Yield a session that commits when the block ends and rolls back if the block raises.

    The session in which the request read is closed first, since its rows may be older.
    """
    close_reading()
    with installation().database.writing() as session:
        g.session = session
        try:
            yield session
        finally:
            g.pop("session")


def _end_answer(response: Response) -> Response:
    # Closed before the answer is sent, which takes long on a slow line.
    close_reading()
    return response


def _end_request(_error: BaseException | None) -> None:
    close_reading()
