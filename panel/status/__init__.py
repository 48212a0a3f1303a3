"""The status of the sync in words and numbers, for the page, the shell and the API."""
