"""The `sync-panel` command: the verbs of the screen, for scripts and support."""
