"""Secrets, sealed or hashed, and the identity of this machine."""
