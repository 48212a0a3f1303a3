"""For WSGI servers other than our own: ``gunicorn wsgi:app``, mod_wsgi and the like."""

from panel.config import ConfigError
from panel.errors import Refusal
from panel.malloc import give_back_large_blocks
from panel.web.app import create_app

give_back_large_blocks()
try:
    app = create_app()
except (ConfigError, Refusal) as error:
    # One clear line, not a traceback.
    raise SystemExit(str(error)) from error
