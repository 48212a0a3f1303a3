"""mSupply Sync v5, both sides of it, over the same records as our own protocol."""
