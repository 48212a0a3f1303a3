"""Tests of the messages on the wire."""
