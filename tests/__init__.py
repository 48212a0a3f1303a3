"""The tests, by layer. A package, so that another distribution's `tests` is never taken for it."""
