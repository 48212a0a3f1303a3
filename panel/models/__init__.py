"""The tables of the database, by subject."""

# All are imported here: a foreign key finds its table whichever module is imported first.
from panel.models import people, records, runs, settings

__all__ = ["people", "records", "runs", "settings"]
