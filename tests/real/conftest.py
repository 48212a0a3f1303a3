"""Makes servers in processes of their own, and ends them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.support.processes import ForkedPanel
from tests.support.real_site import Place, Site

# How long it may take until a loop hears that somebody asked it to synchronise.
LOOK, QUICK_LOOK_SECONDS = "panel.sync.loop._LOOK_SECONDS", 0.05

USUAL_INTERVAL_MINUTES = 10

NewSite = Callable[..., Site]


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[NewSite]:
    """Makes servers, as :func:`sites_in` does; they end with the test."""
    with sites_in(tmp_path) as make:
        yield make


@contextmanager
def sites_in(base: Path) -> Iterator[NewSite]:
    """Yield what makes a server, configured and started, on a migrated database.

    A satellite is told where its ``primary`` is, or a ``url`` on the way to it; a primary which
    ``others`` it knows. ``batch`` is how many records go at once, by default as many as suit;
    ``interval`` is in minutes; ``constants`` are those of ForkedPanel.
    """
    numbers = count(1)
    with ExitStack() as closing:

        def make(
            place: Place,
            database_url: str,
            *,
            primary: Site | None = None,
            url: str = "",
            others: Sequence[Place] = (),
            batch: int = 0,
            interval: int = USUAL_INTERVAL_MINUTES,
            constants: Mapping[str, object] | None = None,
        ) -> Site:
            # The Hardware ID comes from the last name: a place keeps its machine if it starts anew.
            folder = base / f"data-{next(numbers)}" / f"server-{place.sync_id}"
            folder.mkdir(parents=True)
            constants = {LOOK: QUICK_LOOK_SECONDS, **(constants or {})}
            process = ForkedPanel(folder, database_url=database_url, constants=constants)
            site = Site(place, process)
            closing.callback(site.close)
            if primary is not None:
                url, others = url or f"{primary.process.url}/", (primary.place,)
            site.configure(url, others)
            if batch:
                site.shrink_batches(batch)
            if interval != USUAL_INTERVAL_MINUTES:
                site.set_interval(interval)
            site.process.start()
            return site

        yield make
