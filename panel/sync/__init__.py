"""The exchange of records between a primary and its satellites, without a web server."""
