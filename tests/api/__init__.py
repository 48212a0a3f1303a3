"""The API of applications on the same machine."""
