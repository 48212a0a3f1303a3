"""Wires everything, and nothing else."""

import os
from datetime import timedelta

from flask import Flask
from werkzeug.routing import IntegerConverter, Map

from panel.config import Config, load
from panel.db import Database, make_engine
from panel.hardware import own_hardware_id
from panel.keys import Vault
from panel.migrate import upgrade_if_needed
from panel.places import TEMPLATES
from panel.preferences.resealing import reseal
from panel.web import (
    activity,
    api,
    applicants,
    clearing,
    connection,
    health,
    interval,
    page,
    parameters,
    people,
    reader,
    removal,
    runs,
    server_sync,
    servers,
    set_aside,
    set_up,
    sign_in,
    sync_page,
    unlock,
)
from panel.web.access import init_access
from panel.web.compression import init_compression
from panel.web.csrf import init_csrf
from panel.web.embed import init_embed
from panel.web.errors import init_errors
from panel.web.formats import init_formats
from panel.web.headers import init_headers
from panel.web.htmx import init_htmx
from panel.web.kept_pages import KeptPages
from panel.web.labels import init_labels
from panel.web.language import init_language
from panel.web.lock import init_lock
from panel.web.programs import init_programs
from panel.web.proxy import TrustedProxies
from panel.web.services import NAME, Services
from panel.web.session import Sessions
from panel.web.static import init_static
from panel.web.sync_routes import init_sync

_VIEWS = (
    activity,
    api,
    applicants,
    clearing,
    connection,
    health,
    interval,
    page,
    parameters,
    people,
    reader,
    removal,
    runs,
    server_sync,
    servers,
    set_aside,
    set_up,
    sign_in,
    sync_page,
    unlock,
)
LARGEST_FORM_BYTES = 256 * 1024


class RowId(IntegerConverter):
    """A number in a URL that a database can look for: others are not found, here already."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=2**31 - 1)


def create_app(config: Config | None = None, database: Database | None = None) -> Flask:
    """Return the application for ``config`` (by default the environment's).

    Without a ``database`` the one that ``config`` names is opened, and brought to this version's
    tables first.
    """
    config = config or load(os.environ)
    app = Flask("panel", template_folder=str(TEMPLATES), static_folder=None)
    app.config.update(_flask_settings(config))
    # What only indents a template, and ends its lines of control, is not sent.
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.url_map.converters["int"] = RowId
    app.session_interface = Sessions()
    services = Services(
        config=config,
        database=database or _open_database(config),
        vault=Vault(config.secret_keys),
        hardware_id=own_hardware_id(config),
    )
    app.extensions[NAME] = services
    if len(config.secret_keys) > 1:
        with services.database.writing() as session:
            reseal(session, services.vault)
    # What comes first here looks at a request first, and at its answer last.
    for initialise in (
        init_programs,
        init_compression,
        init_headers,
        init_htmx,
        init_language,
        init_formats,
        init_labels,
        init_errors,
        init_embed,
        init_access,
        init_csrf,
        init_lock,
        init_static,
        init_sync,
    ):
        initialise(app)
    for module in _VIEWS:
        app.register_blueprint(module.blueprint)
    pages = KeptPages(app.wsgi_app, services.database, path="/")
    app.wsgi_app = TrustedProxies(  # type: ignore[method-assign]
        pages, config.trusted_proxies, config.path_prefix
    )
    return app


def _flask_settings(config: Config) -> dict[str, object]:
    return {
        "SECRET_KEY": config.secret_keys[0],
        "SECRET_KEY_FALLBACKS": list(config.secret_keys[1:]),
        "SESSION_COOKIE_NAME": "s",
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=config.session_hours),
        "MAX_CONTENT_LENGTH": LARGEST_FORM_BYTES,
    }


def _open_database(config: Config) -> Database:
    upgrade_if_needed(config.database_url)
    return Database(make_engine(config.database_url))
