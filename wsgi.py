"""For WSGI servers other than our own: ``gunicorn wsgi:app``, mod_wsgi and the like."""

from panel.app import create_app
from panel.memory import give_back_large_blocks

give_back_large_blocks()
app = create_app()
