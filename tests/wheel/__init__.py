"""Tests of the build hook and the built wheel."""
