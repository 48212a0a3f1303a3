"""Sessions, access, CSRF protection and the lock."""
