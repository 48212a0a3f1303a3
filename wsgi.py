"""The application for other WSGI servers than our own: ``gunicorn wsgi:app``, mod_wsgi."""

import atexit
import os

from sqlalchemy.exc import SQLAlchemyError

from panel.config import ConfigError, load
from panel.db import first_line
from panel.errors import Refusal
from panel.installation import open_installation
from panel.server import tune_malloc
from panel.web.app import create_app

tune_malloc()
try:
    installation = open_installation(load(os.environ))
    app = create_app(installation)
except (ConfigError, Refusal) as error:
    # One clear line, not a traceback.
    raise SystemExit(str(error)) from error
except SQLAlchemyError as error:
    raise SystemExit(f"The database failed: {first_line(error)}") from error
# What it remembers is written when the server ends.
atexit.register(installation.close)
