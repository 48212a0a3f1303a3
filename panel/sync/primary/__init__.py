"""The primary's side of an exchange."""
