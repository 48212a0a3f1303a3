"""Django admin with a list of 20 servers and a settings form: ``python -m … PORT FOLDER [tuned]``.

*tuned* is what a careful operator adds: gzip, static files that never expire, cached sessions.
"""

import sys
from pathlib import Path

import django
from django.apps import AppConfig
from django.conf import settings

from tests.bench.peers import PASSWORD, SERVERS, USER


def configure(folder: Path, tuned: bool) -> None:
    """Set Django up in this one file."""
    compression = ["django.middleware.gzip.GZipMiddleware"] if tuned else []
    settings.configure(
        SECRET_KEY="bench" * 10,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            f"{__name__}.Bench",
        ],
        MIDDLEWARE=[
            *compression,
            "whitenoise.middleware.WhiteNoiseMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "django.sqlite3"}
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="/static/",
        STATIC_ROOT=folder / "static",
        STORAGES={
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {
                "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
                if tuned
                else "django.contrib.staticfiles.storage.StaticFilesStorage"
            },
        },
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"
        if tuned
        else "django.contrib.sessions.backends.db",
    )


class Bench(AppConfig):
    """The application that holds the two models."""

    name = "tests.bench.peers"
    label = "bench"


urlpatterns: list[object] = []


def serve(port: int) -> None:
    """Make the database, register the models and answer requests."""
    django.setup()
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.db import connection, models
    from django.urls import path
    from waitress import serve as waitress_serve

    class Server(models.Model):
        sync_id = models.IntegerField(unique=True)
        name = models.CharField(max_length=80)
        store = models.CharField(max_length=40)
        url = models.CharField(max_length=500, blank=True)

        class Meta:
            app_label = "bench"

    class Settings(models.Model):
        interval_minutes = models.IntegerField(default=10)
        name = models.CharField(max_length=80)
        store = models.CharField(max_length=40)
        url = models.CharField(max_length=500, blank=True)

        class Meta:
            app_label = "bench"

    class ServerAdmin(admin.ModelAdmin):
        list_display = ("sync_id", "name", "store", "url")
        search_fields = ("name", "store")

    admin.site.register(Server, ServerAdmin)
    admin.site.register(Settings)
    urlpatterns.append(path("admin/", admin.site.urls))
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Server)
        editor.create_model(Settings)
    call_command("collectstatic", interactive=False, verbosity=0)
    User.objects.create_superuser(USER, password=PASSWORD)
    Settings.objects.create(name="National Store", store="NAT-01")
    for sync_id, name, store in SERVERS:
        Server.objects.create(sync_id=sync_id, name=name, store=store)
    waitress_serve(get_wsgi_application(), host="127.0.0.1", port=port, threads=8, _quiet=True)


if __name__ == "__main__":
    configure(Path(sys.argv[2]), tuned="tuned" in sys.argv[3:])
    # The admin's model classes need this module under the name that INSTALLED_APPS gives it.
    sys.modules["tests.bench.peers.django_admin"] = sys.modules["__main__"]
    serve(int(sys.argv[1]))
