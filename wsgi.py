"""For WSGI servers other than our own: ``gunicorn wsgi:app``, mod_wsgi and the like."""

from panel.app import create_app

app = create_app()
