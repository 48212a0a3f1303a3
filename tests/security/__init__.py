"""Tests of secrets and of the machine's identity."""
