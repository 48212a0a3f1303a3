"""Who sends a request, what they may do, and whether the lock is open."""
