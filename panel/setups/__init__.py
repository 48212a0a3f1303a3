"""The set-ups that a primary issues, by which a satellite joins it."""
