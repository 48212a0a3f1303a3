"""How an application follows what changed on its server: pages in order, and an opaque cursor."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from panel.errors import Invalid, Refusal
from panel.i18n import say
from panel.models.sync import Clock, Record
from panel.sync.store import change_feed


class CursorEnded(Refusal):
    """What came after the cursor is no longer known in full: read everything again."""

    status = 410
    code = "cursor_ended"

    def __init__(self) -> None:
        super().__init__(
            say("This cursor is too old, or older than an initialise. Begin without a cursor.")
        )


@dataclass(frozen=True)
class Changes:
    """Records in the order in which they changed here, tombstones too, and where to read on."""

    records: Sequence[Record]
    cursor: str
    more: bool


def changes(session: Session, since: str = "", limit: int = 500) -> Changes:
    """Return what changed after the cursor ``since`` (empty: from the beginning), oldest first.

    A record appears once, as its newest version. Raise Invalid for a cursor that none was given
    out like, :class:`CursorEnded` for one of too long ago: purged tombstones would be missed.
    """
    clock = session.get_one(Clock, 1, populate_existing=True)
    seq = _position(since, clock) if since else 0
    page = change_feed.everything(session, seq, limit)
    return Changes(page.records, _cursor(page.cursor, clock), page.more)


def _cursor(seq: int, clock: Clock) -> str:
    # With what was purged by then: a first reading that takes long goes on from below it.
    text = json.dumps([clock.mark, seq, clock.purged_seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str, clock: Clock) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mark, seq, purged_seq = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Invalid({"since": say("Is not a cursor that was given out here.")}) from error
    if not isinstance(seq, int) or seq < 0:
        raise Invalid({"since": say("Is not a cursor that was given out here.")})
    complete = seq >= clock.purged_seq or purged_seq == clock.purged_seq
    if mark != clock.mark or seq > clock.seq or not complete:
        raise CursorEnded
    return seq
