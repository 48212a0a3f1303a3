"""What the page shows of the sync itself, beside the preferences: see panel.web.page.data."""

from datetime import datetime, timedelta
from functools import cached_property

from flask import request
from sqlalchemy import select
from sqlalchemy.orm import Session

from panel.models.base import Settings
from panel.models.sync import Applicant, Loop, Record
from panel.operations.adopt_identity import Disagreement, disagreements
from panel.operations.applicants import list_applicants
from panel.status.history import count_set_aside
from panel.status.state import State

# A loop hears "Sync now" within seconds. Where none does, the page says so and stops asking.
HEARD_WITHIN = timedelta(seconds=30)
# The loop hears nothing then, and need not: the sentence says why.
_OFF = ("paused", "disabled")


class SyncScreen:
    """Read as the templates ask for it: a part costs its own queries only."""

    def __init__(self, session: Session, settings: Settings, state: State, now: datetime) -> None:
        self._session = session
        self._settings = settings
        self._state = state
        self._now = now

    @cached_property
    def goes_on(self) -> bool:
        """Say whether a run lasts, or was asked for just now: then the page asks how it goes."""
        state = self._state
        waits = state.asked and state.kind not in _OFF and not self.is_unheard
        return state.run is not None or waits

    @property
    def poll_seconds(self) -> int:
        """How often the page asks how a run goes: seldom where the browser is to save data."""
        return 30 if request.headers.get("Save-Data") == "on" else 5

    @property
    def may_begin(self) -> bool:
        """Say whether a run could begin now: none lasts, and nothing keeps sync off."""
        return not self.goes_on and self._state.kind not in _OFF

    @cached_property
    def is_unheard(self) -> bool:
        """Say whether "Sync now" was pressed and nothing has begun: no loop runs, it seems."""
        asked_at = self._session.get_one(Loop, 1).asked_at
        if asked_at is None or self._state.kind in _OFF:
            return False
        return self._now - asked_at > HEARD_WITHIN

    @cached_property
    def set_aside(self) -> int:
        """The number of records set aside and not left out."""
        return count_set_aside(self._session)

    @cached_property
    def is_empty(self) -> bool:
        """Say whether this satellite has no record at all, as a new or restored one."""
        return (
            self._settings.is_satellite and self._session.scalar(select(Record.id).limit(1)) is None
        )

    @cached_property
    def applicants(self) -> list[Applicant]:
        """Who waits to be added to this primary."""
        return list_applicants(self._session) if self._settings.is_primary else []

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        """Where this satellite and its primary do not agree on who they are."""
        state = self._state
        return disagreements(state.reason, state.reason_values, at_primary=False)

    def version(self) -> tuple[object, ...]:
        """Return marks that change with what is shown of this."""
        applicants = [
            (one.sync_id, one.name, one.store, one.hardware_id) for one in self.applicants
        ]
        asks = self.poll_seconds if self.goes_on else 0
        return (asks, self.is_unheard, self.set_aside, self.is_empty, applicants)
