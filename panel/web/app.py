"""Wires everything, and nothing else."""

import os
from datetime import timedelta

from flask import Flask
from werkzeug.routing import IntegerConverter, Map

from panel.config import Config, load
from panel.db import Database, make_engine
from panel.migrate import upgrade_if_needed
from panel.paths import TEMPLATES
from panel.preferences.key_rotation import reseal
from panel.security.machine_id import own_hardware_id
from panel.security.vault import Vault
from panel.web.api import health, records
from panel.web.api.sync_endpoints import init_sync
from panel.web.auth.access import init_access
from panel.web.auth.csrf import init_csrf
from panel.web.auth.lock import init_lock
from panel.web.auth.session import Sessions
from panel.web.base.assets import init_static
from panel.web.base.bodies import init_programs
from panel.web.base.compression import init_compression
from panel.web.base.context import NAME, Services
from panel.web.base.embed import init_embed
from panel.web.base.errors import init_errors
from panel.web.base.formats import init_formats
from panel.web.base.headers import init_headers
from panel.web.base.htmx import init_htmx
from panel.web.base.labels import init_labels
from panel.web.base.language import init_language
from panel.web.base.proxy import TrustedProxies
from panel.web.page import fragments
from panel.web.page.kept_pages import KeptPages
from panel.web.views import (
    activity,
    applicants,
    clearing,
    connection_test,
    interval,
    parameters,
    people,
    quarantine,
    reader,
    removal,
    runs,
    server_sync,
    servers,
    set_up,
    sign_in,
    sync,
    unlock,
)

_VIEWS = (
    activity,
    records,
    applicants,
    clearing,
    connection_test,
    health,
    interval,
    fragments,
    parameters,
    people,
    reader,
    removal,
    runs,
    server_sync,
    servers,
    quarantine,
    set_up,
    sign_in,
    sync,
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
