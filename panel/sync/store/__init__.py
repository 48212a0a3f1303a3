"""The store of records: writes, ordered reads, applying and quarantine."""
