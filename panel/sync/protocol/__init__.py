"""The messages of an exchange, their encoding, and the codes of refusals (PROTOCOL.md)."""
