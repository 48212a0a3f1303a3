"""The runs of the sync, and the page of one satellite with its set-ups."""

import re
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.orm import Session
from wtforms import StringField

from panel import clock
from panel.accounts.people import Permission
from panel.errors import NotFound
from panel.i18n import Message, say
from panel.models.base import folded
from panel.models.settings import Server, Settings, read_settings
from panel.operations.adopt_identity import adopt_from_satellite
from panel.preferences.server_list import STATE_WORDS, server_state
from panel.setups.issued import (
    SetupState,
    SetupTarget,
    find_by_code,
    issue_setup,
    last_target,
    list_setups,
    revoke_setup,
    setup_of,
    state_of,
)
from panel.setups.setup_text import Setup, grouped
from panel.status.history import PAGE_SIZE, list_runs, names_of, read_peer_status
from panel.status.sentences import SEVERITIES
from panel.status.state import read_state
from panel.web.auth.access import permitted
from panel.web.auth.lock import locked, open_input
from panel.web.auth.session import actor
from panel.web.base.context import reading, writing
from panel.web.base.htmx import back_to_page, is_fragment, not_kept, number_in_address
from panel.web.page.data import find_server
from panel.web.page.forms import PanelForm, attempt

# Of the plot: two lines of them on a telephone.
_MOST_BARS = 24

blueprint = Blueprint("runs", __name__)


@blueprint.get("/runs")
def show() -> ResponseReturnValue:
    """Show a page of runs, on a primary those of one satellite if the address names it."""
    other = number_in_address("server")
    session = reading()
    runs = list_runs(session, other, number_in_address("before"), PAGE_SIZE + 1)
    shown = runs[:PAGE_SIZE]
    known = [run.other for run in shown] + ([other] if other else [])
    return render_template(
        "runs_rows.html" if is_fragment() else "runs.html",
        runs=shown,
        older=shown[-1].id if len(runs) > PAGE_SIZE else None,
        other=other,
        most_bars=_MOST_BARS,
        names=names_of(session, known),
        settings=session.get_one(Settings, 1),
        present=read_state(session, clock.now()).run,
    )


@blueprint.get("/servers/<int:server_id>/sync")
def show_server(server_id: int) -> ResponseReturnValue:
    """Show one satellite."""
    return _server_page(server_id)


@blueprint.post("/servers/<int:server_id>/theirs")
@locked(lambda server_id: _server_page(server_id))
def use_theirs(server_id: int) -> ResponseReturnValue:
    """Save the names that the satellite gives itself, in the place of those in its row."""
    form = PanelForm(request.form)

    def keep(session: Session) -> ResponseReturnValue:
        adopt_from_satellite(session, actor(), server_id, form.confirmed)
        if not is_fragment():
            return back_to_page("runs.show_server", server_id=server_id)
        return _server_page(server_id, saved=True)

    if (kept := attempt(form, keep)) is not None:
        return kept
    return make_response(_server_page(server_id, theirs_form=form), form.status)


def _server_page(
    server_id: int, theirs_form: PanelForm | None = None, *, saved: bool = False, **opened: Any
) -> str:
    """Return the page of a satellite, in a fragment its facts; ``opened`` as in :func:`_setups`."""
    standing = read_peer_status(reading(), server_id)
    shown = {} if is_fragment() else _setups(standing.server, **opened)
    return render_template(
        "server_sync_facts.html" if is_fragment() else "server_sync.html",
        standing=standing,
        state=server_state(
            standing.server.last_success_at, clock.now(), is_refused=standing.is_refused
        ),
        severities=SEVERITIES,
        state_words=STATE_WORDS,
        theirs_form=theirs_form,
        saved=saved,
        **shown,
    )


class SetupForm(PanelForm):
    """Where a satellite finds this primary, and by which certificate."""

    url = StringField()
    fingerprint = StringField()
    private_ca = StringField()

    def target(self) -> SetupTarget:
        """Return what was typed."""
        return SetupTarget(
            self.url.data or "", self.fingerprint.data or "", self.private_ca.data or ""
        )


_SETUP_WORDS: Mapping[SetupState, Message] = {
    SetupState.OPEN: say("not used yet"),
    SetupState.USED: say("used"),
    SetupState.ENDED: say("ended"),
    SetupState.REVOKED: say("revoked"),
}
# A camera reads no more than so many characters from a screen.
_MOST_PICTURED_CHARACTERS = 1_500
# As wide as a telephone shows.
_PICTURE_PIXELS = 320


@blueprint.post("/servers/<int:server_id>/setups")
@locked(lambda server_id: _server_page(server_id, asked="issue", form=SetupForm(request.form)))
def issue(server_id: int) -> ResponseReturnValue:
    """Issue a set-up for a satellite, and show it, this once."""
    form = SetupForm(request.form)

    def keep(session: Session) -> ResponseReturnValue:
        setup = issue_setup(session, actor(), server_id, form.target())
        return not_kept(make_response(_setups_part(server_id, setup=setup)))

    return attempt(form, keep) or make_response(_setups_part(server_id, form=form), form.status)


@blueprint.post("/servers/<int:server_id>/setups/<int:setup_id>/revoke")
@locked(lambda server_id, setup_id: _server_page(server_id, asked=setup_id))
def revoke(server_id: int, setup_id: int) -> ResponseReturnValue:
    """Revoke a set-up that was not used."""
    with writing() as session:
        revoke_setup(session, actor(), server_id, setup_id)
        if not is_fragment():
            return back_to_page("runs.show_server", server_id=server_id, _anchor="setups")
        return _setups_part(server_id)


@blueprint.post("/servers/<int:server_id>/setups/file")
@permitted(Permission.EDIT)
def download_setup(server_id: int) -> ResponseReturnValue:
    """Send the file of the set-up that the page showed just now."""
    setup = _shown_setup(server_id)
    name = re.sub(r"[^a-z0-9]+", "-", folded(setup.name)).strip("-") or str(setup.sync_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}.setup"'}
    return not_kept(Response(setup.as_file(), mimetype="application/json", headers=headers))


@blueprint.post("/servers/<int:server_id>/setups/picture")
@permitted(Permission.EDIT)
def show_picture(server_id: int) -> ResponseReturnValue:
    """Show the link of the set-up that the page showed just now as a picture."""
    link = _shown_setup(server_id).as_link()
    picture = _picture(link) if len(link) <= _MOST_PICTURED_CHARACTERS else None
    server = find_server(server_id)
    page = render_template("setup_picture.html", server=server, picture=picture)
    return not_kept(make_response(page))


def _picture(text: str) -> Markup:
    """Return ``text`` as a QR code, in SVG."""
    # Imported late: few processes ever draw one.
    import segno

    drawn = segno.make(text, error="l", micro=False)
    scale = max(2, _PICTURE_PIXELS // drawn.symbol_size()[0])
    # Dark on light in every theme, as cameras need it. Safe as markup: the text is in it as squares
    # only.
    picture = drawn.svg_inline(scale=scale, light="#fff", svgclass=None, lineclass=None)
    return Markup(picture)  # noqa: S704


def _shown_setup(server_id: int) -> Setup:
    """Return the set-up whose sealed secret the form holds. Raise :class:`NotFound`."""
    session, server = reading(), find_server(server_id)
    code = open_input(request.form.get("typed", ""))
    issued = find_by_code(session, code) if code else None
    if code is None or issued is None or issued.server_id != server.id:
        raise NotFound(say("This set-up is shown no more. Make a new one."))
    return setup_of(read_settings(session), server, issued, code)


def _setups_part(server_id: int, **opened: Any) -> str:
    """Return the set-ups of a satellite; without scripting the whole page of it.

    ``opened`` is what the template is given beside :func:`_setups`.
    """
    if not is_fragment():
        return _server_page(server_id, **opened)
    return render_template("setups.html", **_setups(find_server(server_id), **opened))


def _setups(server: Server, **opened: Any) -> dict[str, Any]:
    """Return the context of the template of the set-ups; only a primary has any.

    ``opened`` replaces values: ``setup`` is one issued just now, ``asked`` the act that asks for
    the code ("issue", or the id of a set-up to revoke), ``form`` what was typed.
    """
    session, now = reading(), clock.now()
    if not read_settings(session).is_primary:
        return {"setups": None}
    setups = [(one, state_of(one, now)) for one in list_setups(session, server.id)]
    target = last_target(session) or SetupTarget(request.root_url)
    known: dict[str, Any] = {"setup": None, "asked": "", "form": SetupForm(data=vars(target))}
    shown = {"server": server, "setups": setups, "setup_words": _SETUP_WORDS, "grouped": grouped}
    return {**known, **shown, **opened}
