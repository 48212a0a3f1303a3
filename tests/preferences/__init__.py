"""Tests of the verbs of the screen: parameters, interval and servers."""
