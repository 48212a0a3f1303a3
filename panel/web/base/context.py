"""The installation and the set-up link, for the views: given to the application once."""

import secrets
from typing import cast

from flask import Flask, current_app

from panel.installation import Installation
from panel.security.hashes import equal_in_constant_time

_INSTALLATION, _SET_UP_LINK = "panel", "panel.set_up_link"


class SetUpLink:
    """The one-time token of the set-up link. It lives in memory only: a restart makes a new one."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self._used = False

    def fits(self, token: str) -> bool:
        """Say whether ``token`` opens the set-up page, in a time that does not tell how nearly."""
        return equal_in_constant_time(token, self.token) and not self._used

    def use_up(self) -> None:
        """Let the link open nothing any more."""
        self._used = True


def init_context(app: Flask, installation: Installation) -> None:
    """Keep ``installation`` on ``app``, with a new set-up link."""
    app.extensions[_INSTALLATION] = installation
    app.extensions[_SET_UP_LINK] = SetUpLink()


def installation_of(app: Flask) -> Installation:
    """Return the installation of ``app``, where no request is being answered."""
    return cast(Installation, app.extensions[_INSTALLATION])


def set_up_link_of(app: Flask) -> SetUpLink:
    """Return the set-up link of ``app``."""
    return cast(SetUpLink, app.extensions[_SET_UP_LINK])


def installation() -> Installation:
    """Return the installation of the application that answers this request."""
    return installation_of(current_app)
