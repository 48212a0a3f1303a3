"""The entry point of ``python -m panel.cli``, for where ``sync-panel`` is not on the path."""

from panel.cli.main import main

main()
