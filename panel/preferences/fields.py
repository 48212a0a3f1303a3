"""Checks of what people type, value by value, gathering a reason for each that cannot stand."""

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.models.base import HIGHEST_SYNC_ID
from panel.preferences.urls import check_url

SHORTEST_SECRET, LONGEST_SECRET = 8, 200


class Checks:
    """Takes typed values and returns them tidied; what is wrong with them stays in ``problems``.

    A value that cannot stand comes back empty, so that it may be looked up in the database like
    any other: nothing is saved anyway.
    """

    def __init__(self) -> None:
        self.problems: dict[str, Message] = {}

    def refuse(self, field: str, reason: Message) -> None:
        """Keep ``reason`` beside ``field``, unless something is wrong with it already."""
        self.problems.setdefault(field, reason)

    def finish(self) -> None:
        """Raise :class:`Invalid` with every reason gathered, if there is one."""
        if self.problems:
            raise Invalid(self.problems)

    def text(self, field: str, value: str, longest: int, missing: Message | None = None) -> str:
        """Return ``value`` trimmed: one line of at most ``longest`` characters.

        ``missing`` is the reason to give for an empty one; without it, empty is fine.
        """
        value = value.strip()
        if missing is not None and not value:
            self.refuse(field, missing)
        return self._line(field, value, longest)

    def secret(self, field: str, value: str, shortest: int = 1) -> str:
        """Return ``value`` as it is: spaces may be a part of it, a line's end may not."""
        if len(value) < shortest:
            self.refuse(field, say("At least %(shortest)s characters.", shortest=shortest))
            return ""
        return self._line(field, value, LONGEST_SECRET)

    def _line(self, field: str, value: str, longest: int) -> str:
        if len(value) > longest:
            self.refuse(field, say("At most %(longest)s characters.", longest=longest))
            return ""
        if not value.isprintable():
            self.refuse(field, say("Only letters, digits, signs and spaces, in one line."))
            return ""
        return value

    def sync_id(self, field: str, value: int | None) -> int | None:
        """Return ``value``: empty, or a whole number that a Sync ID may be."""
        if value is None or 1 <= value <= HIGHEST_SYNC_ID:
            return value
        self.refuse(field, say("A whole number from 1 to %(highest)s.", highest=HIGHEST_SYNC_ID))
        return None

    def url(self, field: str, value: str) -> str:
        """Return ``value`` as it is to be kept."""
        try:
            return check_url(value)[0]
        except Invalid as refusal:
            self.refuse(field, refusal.problems["url"])
            return ""
