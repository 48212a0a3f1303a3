"""Sync Panel: the Synchronisation preferences of one server, and the service that obeys them."""

__version__ = "0.1.0"
