"""The log of acts of people and servers, one row for each act."""
