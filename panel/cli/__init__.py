"""The ``sync-panel`` command, for scripts and support."""
