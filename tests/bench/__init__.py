"""Weights and speed, measured beside peers: ``make bench``."""
