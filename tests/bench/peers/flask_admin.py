"""Flask-Admin with a list of 20 servers and a settings form: ``python -m … PORT FOLDER [tuned]``.

*tuned* is what a careful operator adds: gzip and static files that stay in the browser's cache.
"""

import sys
from pathlib import Path

from flask import Flask, redirect, request, session
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_babel import Babel
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from waitress import serve
from werkzeug.wrappers import Response

from tests.bench.peers import PASSWORD, SERVERS, USER

A_YEAR_SECONDS = 31_536_000


class Base(DeclarativeBase):
    """The two tables."""


class Server(Base):
    """One of the twenty."""

    __tablename__ = "servers"

    id: Mapped[int] = mapped_column(primary_key=True)
    sync_id: Mapped[int] = mapped_column(unique=True)
    name: Mapped[str]
    store: Mapped[str]
    url: Mapped[str] = mapped_column(default="")


class Settings(Base):
    """The form beside the list."""

    __tablename__ = "settings"

    id: Mapped[int] = mapped_column(primary_key=True)
    interval_minutes: Mapped[int] = mapped_column(default=10)
    name: Mapped[str]
    store: Mapped[str]
    url: Mapped[str] = mapped_column(default="")


class SignedIn(ModelView):  # type: ignore[misc]
    """A view for those who signed in."""

    page_size = 50

    def is_accessible(self) -> bool:
        return bool(session.get("user"))


class ServerView(SignedIn):
    """The list, with what the panel's own list can do."""

    column_searchable_list = ("name", "store")
    column_list = ("sync_id", "name", "store", "url")


def make_app(folder: Path, tuned: bool) -> Flask:
    """Return the whole application on a new database in ``folder``."""
    engine = create_engine(f"sqlite:///{folder / 'flask.sqlite3'}")
    Base.metadata.create_all(engine)
    db = scoped_session(sessionmaker(engine))
    db.add(Settings(name="National Store", store="NAT-01"))
    db.add_all(Server(sync_id=sync_id, name=name, store=store) for sync_id, name, store in SERVERS)
    db.commit()
    app = Flask("bench")
    app.secret_key = "bench" * 10
    # Flask-Admin uses Flask-Babel wherever it is installed, as it is beside the panel.
    Babel(app)
    if tuned:
        from flask_compress import Compress

        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = A_YEAR_SECONDS
        app.config["COMPRESS_ALGORITHM"] = ["br", "gzip"]
        Compress(app)
    admin = Admin(app, name="bench")
    admin.add_view(ServerView(Server, db, endpoint="server"))
    admin.add_view(SignedIn(Settings, db, endpoint="settings"))
    app.teardown_appcontext(lambda _error: db.remove())
    app.add_url_rule("/sign-in", view_func=sign_in, methods=["POST"])
    return app


def sign_in() -> Response | tuple[str, int]:
    """Open a session for the one user of the benchmark."""
    if (request.form["username"], request.form["password"]) != (USER, PASSWORD):
        return "no", 403
    session["user"] = USER
    return redirect("/admin/server/")


if __name__ == "__main__":
    serve(
        make_app(Path(sys.argv[2]), tuned="tuned" in sys.argv[3:]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        threads=8,
        _quiet=True,
    )
