"""Attacks on one server, in turns, while satellites synchronise with it and people look at it."""
