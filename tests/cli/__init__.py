"""Tests of the ``sync-panel`` command."""
