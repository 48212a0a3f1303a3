"""Sync Panel: the Synchronisation preferences of one server, and the sync service they govern."""

__version__ = "0.1.0"
