"""What the views work with, made once by ``create_app`` and kept on the application."""

import secrets
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app

from panel.config import Config
from panel.db import Database
from panel.security.vault import Vault, same

NAME = "panel"


class SetUpLink:
    """The one-time token of the set-up link. It lives in memory only: a restart makes a new one."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self._used = False

    def fits(self, token: str) -> bool:
        """Say whether ``token`` opens the set-up page, in a time that does not tell how nearly."""
        return same(token, self.token) and not self._used

    def use_up(self) -> None:
        """Let the link open nothing any more."""
        self._used = True


@dataclass
class Services:
    """The installation's settings, its database and its secrets, for the views."""

    config: Config
    database: Database
    vault: Vault
    hardware_id: str
    set_up: SetUpLink = field(default_factory=SetUpLink)


def services_of(app: Flask) -> Services:
    """Return what ``create_app`` gave to ``app``, where no request is being answered."""
    return cast(Services, app.extensions[NAME])


def services() -> Services:
    """Return what ``create_app`` gave to the application that answers this request."""
    return services_of(current_app)
