"""Tests of mSupply Sync v5, both sides of it."""
