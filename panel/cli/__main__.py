"""``python -m panel.cli``, where the command itself is not on the path."""

from panel.cli.main import main

main()
