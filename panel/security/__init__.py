"""Secrets: sealed, hashed or derived; and the identity of this machine."""
