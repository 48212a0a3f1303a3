"""The Flask application, put together from the rooms of ``panel.web``."""

from datetime import timedelta

from flask import Flask
from werkzeug.routing import IntegerConverter, Map

from panel.config import Config
from panel.installation import Installation
from panel.paths import TEMPLATES
from panel.web.api import records
from panel.web.api.server_endpoints import init_server_endpoints
from panel.web.api.status_line import init_status_line
from panel.web.auth.access import init_access
from panel.web.auth.csrf import init_csrf
from panel.web.auth.lock import init_lock
from panel.web.auth.session import Sessions
from panel.web.base.assets import init_static, init_templates
from panel.web.base.bodies import init_bodies
from panel.web.base.context import init_context
from panel.web.base.embed import init_embed
from panel.web.base.errors import init_errors
from panel.web.base.headers import init_compression, init_headers
from panel.web.base.htmx import init_htmx
from panel.web.base.language import init_formats, init_language
from panel.web.base.proxy import TrustedProxies
from panel.web.page import fragments
from panel.web.views import (
    activity,
    parameters,
    people,
    quarantine,
    removal,
    runs,
    servers,
    sign_in,
    sync,
    unlock,
)

_VIEWS = (
    activity,
    fragments,
    parameters,
    people,
    quarantine,
    records,
    removal,
    runs,
    servers,
    sign_in,
    sync,
    unlock,
)
LARGEST_FORM_BYTES = 256 * 1024


class RowId(IntegerConverter):
    """The URL converter ``int``: numbers up to the largest row id; others are not found."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=2**31 - 1)


def create_app(installation: Installation) -> Flask:
    """Return the web application of ``installation``."""
    config = installation.config
    app = Flask("panel", template_folder=str(TEMPLATES), static_folder=None)
    app.config.update(_flask_settings(config))
    init_templates(app)
    app.url_map.converters |= {"int": RowId, "record_id": records.RecordId}
    # A path with two slashes is no other path: a redirect would name the Host that was sent.
    app.url_map.merge_slashes = False
    app.session_interface = Sessions()
    init_context(app, installation)
    # In this order they handle a request, in reverse its answer.
    for initialise in (
        init_bodies,
        init_compression,
        init_headers,
        init_htmx,
        init_language,
        init_formats,
        init_errors,
        init_embed,
        init_access,
        init_csrf,
        init_lock,
        init_static,
        init_server_endpoints,
        init_status_line,
    ):
        initialise(app)
    for module in _VIEWS:
        app.register_blueprint(module.blueprint)
    app.wsgi_app = TrustedProxies(  # type: ignore[method-assign]
        app.wsgi_app, app.url_map, config.trusted_proxies, config.path_prefix
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
