"""The process that serves: its listening socket, waitress, and memory."""
