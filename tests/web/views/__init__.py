"""Tests of the routes of the screen."""
