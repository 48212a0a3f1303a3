"""For WSGI servers other than our own: ``gunicorn wsgi:app``, mod_wsgi and the like."""

import os

from panel.app import create_app
from panel.config import load
from panel.migrate import upgrade_if_needed

config = load(os.environ)
upgrade_if_needed(config.database_url)
app = create_app(config)
