"""Servers that are killed while they synchronise, and properties tried with new examples."""
