"""The same list and form in two well-known admin pages, to be measured beside the panel."""

SERVERS = [(sync_id, f"Health Centre {sync_id}", f"HC-{sync_id:02}") for sync_id in range(2, 22)]
USER, PASSWORD = "bench", "bench-password"
