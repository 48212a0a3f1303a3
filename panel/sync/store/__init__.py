"""The store of records: writes, ordered reads, applying, quarantine and retention."""
