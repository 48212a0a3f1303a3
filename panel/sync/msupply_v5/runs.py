"""What a primary writes down of a v5 site's runs, of which each call is only a part.

A run begins with the first records that move, and ends when the site found its queue empty.
"""

from sqlalchemy.orm import Session

from panel import clock
from panel.models.sync import Run
from panel.sync.msupply_v5.sites import Site
from panel.sync.primary.run_log import begin_run, open_run
from panel.sync.store.apply import Outcome


def cut_off(session: Session, site: Site) -> None:
    """The site begins anew: whatever it did not finish was cut off."""
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.ended_at, run.result = clock.now(), "cut_off"


def note_pushed(session: Session, site: Site, outcome: Outcome, left: int) -> None:
    """The site pushed records, of which ``outcome`` tells, and ``left`` are still there."""
    count = len(outcome.taken) + len(outcome.refused)
    if count:
        run = _run(session, site)
        run.step = "pushing"
        run.pushed += count
        run.set_aside += len(outcome.refused)
        run.to_push = run.pushed + left


def note_pulled(session: Session, site: Site, step: str, count: int, left: int = 0) -> None:
    """The site pulled ``count`` records in ``step``, and ``left`` more wait for it."""
    if count:
        run = _run(session, site)
        run.step = step
        run.pulled += count
        run.to_pull = run.pulled + left


def note_end(session: Session, site: Site) -> None:
    """The site has everything: its run, and its cycle even if nothing moved, ended well."""
    site.server.last_success_at = clock.now()
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.ended_at, run.result = clock.now(), "well"


def count_bytes(session: Session, site: Site, bytes_up: int, bytes_down: int) -> None:
    """A call was made whose bodies had so many bytes; those of a run count."""
    run = open_run(session, site.server.sync_id)
    if run is not None:
        run.bytes_up += bytes_up
        run.bytes_down += bytes_down


def _run(session: Session, site: Site) -> Run:
    sync_id = site.server.sync_id
    return open_run(session, sync_id) or begin_run(session, sync_id, "v5")
