"""The connection to the primary: HTTP, its measured speed, one request and its answer."""
