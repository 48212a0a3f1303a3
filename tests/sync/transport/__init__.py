"""Tests of the connection to the primary."""
