"""How many examples a property is tried with: a few that never change, or as many new as asked."""

import os

SEARCHING = "EXAMPLES" in os.environ


def examples(usual: int) -> int:
    """Return ``EXAMPLES`` of the environment, which `make soak` sets, else ``usual``."""
    return int(os.environ.get("EXAMPLES", usual))
