"""The tests, room by room as in `panel/`; a package, so that no other `tests` is taken for it."""
