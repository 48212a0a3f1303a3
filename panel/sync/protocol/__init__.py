"""The messages of an exchange and how they are written on the wire."""
