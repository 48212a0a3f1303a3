"""A satellite without a server: it speaks the protocol, in as little time as a client can."""

import secrets
from dataclasses import dataclass, field
from typing import Any

from panel.preferences.shared_password import wire_password
from panel.sync.protocol.batch_codec import Item
from panel.sync.protocol.messages import (
    CHECKPOINT_BYTES,
    Answer,
    Cursors,
    Identity,
    Mode,
    Pair,
    Request,
    Stream,
)
from panel.sync.transport.exchange_client import exchange
from panel.sync.transport.http import Transport
from tests.support.real_site import NATIONAL, PAIR, Place


@dataclass
class LeanSatellite:
    """What one satellite knows of its primary."""

    place: Place
    token: str = ""
    checkpoint: str = ""
    written: int = 0
    identity: Identity = field(init=False)
    # Up to where it has everything.
    cursors: Cursors = field(default_factory=dict)
    # Until there is an answer: a request that is repeated proposes the same.
    _proposed: str = ""

    def __post_init__(self) -> None:
        hardware_id = f"machine-{self.place.sync_id:08}"
        identity = (self.place.sync_id, self.place.name, self.place.store, hardware_id, "lean")
        self.identity = Identity(*identity, NATIONAL.name, NATIONAL.store)

    def join(self, transport: Transport) -> None:
        """Begin with the primary, as every satellite does first."""
        begun = self._ask(transport, mode=Mode.BEGIN)
        self.checkpoint = begun.begun
        self._ask(transport, mode=Mode.INITIALISE, generation=begun.generation)

    def call(self, transport: Transport, items: list[Item]) -> None:
        """Take part in one exchange, with nothing to say or with records.

        After a LinkFault or a SyncRefusal the same can be called again, as satellites do.
        """
        self._ask(transport, start=True, records=items)

    def _ask(self, transport: Transport, **said: Any) -> Answer:
        moves = said.get("records") or said.get("mode")
        if moves and not self._proposed:
            self._proposed = secrets.token_urlsafe(CHECKPOINT_BYTES)
        asked = Request(
            self.identity,
            checkpoint=self.checkpoint,
            next_checkpoint=self._proposed,
            cursors=self.cursors,
            limit=100,
            **said,
        )
        pair = Pair(PAIR[0], wire_password(PAIR[1]))
        answer, _response = exchange(transport, pair, self.token, self.identity, asked)
        self.token = answer.token or self.token
        self.checkpoint = self._proposed if answer.rolled else self.checkpoint
        self._proposed = ""
        told = {Stream.CENTRAL, Stream.ADDRESSED} & answer.cursors.keys()
        self.cursors = {**self.cursors, **{one: answer.cursors[one] for one in told}}
        return answer

    def write(self, texts: list[str]) -> list[Item]:
        """Return the next records of this satellite's own, of these JSON texts."""
        items = []
        for text in texts:
            self.written += 1
            record_id = f"{self.place.sync_id}-{self.written}"
            owner = self.place.sync_id
            items.append(
                Item(self.written, "stock_line", record_id, owner, None, self.written, text)
            )
        return items
