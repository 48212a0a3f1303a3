"""Tests of the satellite's side alone."""
