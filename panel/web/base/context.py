"""The installation and the set-up link of an application, for its views."""

import secrets
from typing import cast

from flask import Flask, current_app

from panel.installation import Installation
from panel.security.hashes import equal_in_constant_time

_INSTALLATION, _SET_UP_LINK = "panel", "panel.set_up_link"


class SetUpLink:
    """The one-time token of the set-up link. It is in memory only: a restart makes a new one."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self._used = False

    def fits(self, token: str) -> bool:
        """Say whether ``token`` opens the set-up page, in constant time."""
        return equal_in_constant_time(token, self.token) and not self._used

    def use_up(self) -> None:
        """End the link."""
        self._used = True


def init_context(app: Flask, installation: Installation) -> None:
    """Store ``installation`` and a new set-up link on ``app``."""
    app.extensions[_INSTALLATION] = installation
    app.extensions[_SET_UP_LINK] = SetUpLink()


def installation_of(app: Flask) -> Installation:
    """Return the installation of ``app``, outside a request."""
    return cast(Installation, app.extensions[_INSTALLATION])


def set_up_link_of(app: Flask) -> SetUpLink:
    """Return the set-up link of ``app``."""
    return cast(SetUpLink, app.extensions[_SET_UP_LINK])


def installation() -> Installation:
    """Return the installation of the current request's application."""
    return installation_of(current_app)
