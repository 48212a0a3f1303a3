"""Servers that are killed while they synchronise: ``make soak KILLS=n``."""
