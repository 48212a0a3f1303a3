"""Tests of the exchange with both sides in one process, and of the loop."""
