"""Tests of the page and its fragments."""
