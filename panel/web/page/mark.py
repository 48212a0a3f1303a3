"""One cheap look at whether anything changed that the page could show."""

from typing import Any

from sqlalchemy import Boolean, Row, Select, String, cast, func, literal_column, select
from sqlalchemy.orm import Session

from panel.models.activity import Activity
from panel.models.people import AuthorisationCode, Person
from panel.models.records import ChangeSequence, Quarantined
from panel.models.runs import Applicant, Link, Loop, Peer, Run
from panel.models.settings import Server, Settings

# In the very words of the partial index: a planner compares them literally.
_REFUSED = literal_column("peers.refusal <> ''", Boolean)


def _mark() -> Select[Any]:
    newest = select(Run).order_by(Run.id.desc()).limit(1).subquery()
    # Every change of a preference leaves a row of Activity; the sync's own tables say the rest. A
    # Hardware ID needs no column either: whoever binds or clears it writes Activity too.
    alone = (
        select(func.max(Activity.id)),
        select(func.count(Quarantined.id)),
        select(func.max(Quarantined.last_at)),
        select(func.count(Quarantined.left_out_at)),
        select(func.count(Applicant.sync_id)),
        select(func.max(Applicant.last_at)),
        select(func.max(Server.last_success_at)),
        select(func.count()).where(Run.ended_at.is_(None)),
        # The same refusal for the second time leaves no run.
        select(func.aggregate_strings(cast(Peer.server_id, String) + Peer.refusal, " ")).where(
            _REFUSED
        ),
        # On PostgreSQL a row of Activity may come to be seen after one with a higher number.
        select(Settings.interval_version),
        select(Settings.parameters_version),
        # Who may do what leaves Activity; asked for itself all the same, so that nobody's way in
        # depends on a row of it.
        select(func.sum(Person.generation + Person.unlock_generation + Person.version)),
        select(func.count(Person.disabled_at)),
        select(func.sum(AuthorisationCode.generation)),
        # Which leaves none: it concerns nobody else.
        select(func.aggregate_strings(cast(Person.id, String) + Person.language, " ")),
    )
    rows = (
        select(ChangeSequence.seq),
        select(Loop.asked_at),
        select(Loop.failures),
        select(Loop.refusal),
        select(Loop.refused_at),
        select(Link.initialise),
        select(Link.last_attempt_at),
        select(Link.last_success_at),
        # Not the values of its reason, which come with the reason and cannot be a key.
        *(select(column) for column in newest.c if column.name != "reason_values"),
    )
    return select(*(query.scalar_subquery() for query in (*alone, *rows)))


_MARK = _mark()


def data_mark(session: Session) -> Row[Any]:
    """Return values that differ from the last ones if the page may look different, in one query.

    They may also differ where the page does not. How late a server is depends on the time too:
    whoever keeps what was shown keeps it for the minute.
    """
    # Not as objects of the session, which would take as long again.
    return session.connection().execute(_MARK).one()
