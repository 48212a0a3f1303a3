"""Sync Panel: the Synchronisation preferences of one server, and the sync service they govern."""

__version__ = "0.1.0"
# How this program names itself to other servers.
APP_NAME = "Sync Panel"
