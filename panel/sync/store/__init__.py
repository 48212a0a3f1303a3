"""Records in the database: written, read in order, applied, kept aside, purged."""
