"""Tests of the state sentence."""
