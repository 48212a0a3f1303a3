"""The connection to a primary: HTTP, the measured link, batch sizes and one exchange."""
