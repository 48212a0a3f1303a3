"""The log of what people and servers did, one row for each act."""
