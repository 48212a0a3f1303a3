"""What a person may do."""

from collections.abc import Collection
from enum import StrEnum

from panel.models.base import Person


class Permission(StrEnum):
    """What a person may do; the second and the third include the first."""

    VIEW = "view"
    EDIT = "edit"
    MANAGE = "manage"


def permissions(person: Person) -> frozenset[Permission]:
    """Return what ``person`` may do."""
    granted = granted_to(person)
    return frozenset(permission for permission in Permission if granted[permission])


def granted_to(person: Person) -> dict[str, bool]:
    """Return every permission, and whether ``person`` has it."""
    return {
        Permission.VIEW: person.may_view,
        Permission.EDIT: person.may_edit,
        Permission.MANAGE: person.may_manage,
    }


def permit(person: Person, permitted: Collection[Permission]) -> None:
    """Let ``person`` do what ``permitted`` says, and see what that includes."""
    person.may_view = bool(permitted)
    person.may_edit = Permission.EDIT in permitted
    person.may_manage = Permission.MANAGE in permitted
