"""Tests of who may send which request."""
