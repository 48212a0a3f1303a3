"""Real servers, each a process with a database of its own."""
