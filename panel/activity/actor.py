"""Who does something, and from where: what every row of Activity begins with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The one who acts: a person signed in, a script at the shell, or the sync service.

    ``via`` is "web", "shell", "proxy" or "sync"; ``person_id`` is None for all others.
    """

    name: str
    address: str = ""
    via: str = "shell"
    person_id: int | None = None
