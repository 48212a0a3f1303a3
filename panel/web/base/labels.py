"""What the fields are called on the screen, for those who read of them elsewhere."""

from collections.abc import Mapping

from flask import Flask

from panel.i18n import Message, say
from panel.web.base.language import show

LABELS: Mapping[str, Message] = {
    "interval_minutes": say("Sync time interval"),
    "sync_id": say("Sync ID"),
    "name": say("Name"),
    "store": say("Store"),
    "user_name": say("User name"),
    "password": say("Password"),
    "url": say("URL"),
    "hardware_id": say("Hardware ID"),
    "request_size": say("Sync request size"),
    "protocol": say("Protocol"),
    "private_ca": say("Private authority (PEM)"),
    "fingerprint": say("SHA-256 fingerprint"),
    "primary_name": say("Name of the primary"),
    "primary_store": say("Store of the primary"),
    "view": say("view"),
    "edit": say("edit preferences"),
    "manage": say("manage people"),
    "code": say("Reason"),
    # By which way somebody came, where no address says it.
    "web": say("browser"),
    "shell": say("command line"),
    "proxy": say("intranet"),
    "sync": say("sync"),
}


def init_labels(app: Flask) -> None:
    """Give templates ``names()``: every field's label by the field's name."""
    app.jinja_env.globals["names"] = names


def names() -> dict[str, str]:
    """Return every field's label, in the language of this request."""
    return {field: show(label) for field, label in LABELS.items()}
