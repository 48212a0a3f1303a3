"""Rules that the whole tree keeps: rooms, templates, catalogues, lock files."""
