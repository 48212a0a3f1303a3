"""Every table, by subject."""

# All of them, so that the tables know each other whichever is imported first.
from panel.models import activity, people, records, runs, settings

__all__ = ["activity", "people", "records", "runs", "settings"]
