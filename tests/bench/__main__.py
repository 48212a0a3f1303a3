"""``make bench``: prints what the README's tables say, measured now, on this machine."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.bench.pages import PEERS, Costs, measure_panel, measure_peer
from tests.browser import chromium
from tests.browser.conftest import ARGUMENTS

VISITS = ("cold", "warm", "changed")


def main() -> None:
    """Measure the pages, ours and the peers', and print a table of each."""
    chromium_path = chromium.find()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
        costs, rate, memory = measure_panel(browser, folder / "panel")
        print_costs("Sync Panel", costs)
        print(f"  {rate:.0f} requests/s of the page, {memory:.0f} MiB resident\n")
        if "--panel" in sys.argv[1:]:
            return
        for peer in PEERS:
            for tuned in (False, True):
                title = f"{peer}, {'tuned' if tuned else 'as it comes'}"
                costs, memory = measure_peer(browser, folder / title, peer, tuned=tuned)
                print_costs(title, costs)
                print(f"  {memory:.0f} MiB resident\n")


def print_costs(title: str, costs: Costs) -> None:
    """Print one row for each visit and act."""
    print(f"{title:24}    down B    up B requests conns readable      s")
    for act, cost in costs.items():
        readable = f"{cost.readable_seconds:8.1f}" if act in VISITS else " " * 8
        print(
            f"  {act:22} {cost.down:9} {cost.up:7} {cost.requests:8} {cost.connections:5}"
            f" {readable} {cost.seconds:6.1f}"
        )


if __name__ == "__main__":
    main()
