"""What a visit and an act cost on a bad line, as a real Chromium sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from playwright.sync_api import Browser, Page, Request, StorageState

from tests.support.line import CLINIC, OPEN, Count, Line

# The longest wait for the heaviest peer's cold visit, with room.
PATIENCE_MILLISECONDS = 400_000
TIMES = """() => {
  const entries = performance.getEntriesByType('resource')
  const page = performance.getEntriesByType('navigation')[0]
  const paint = performance.getEntriesByName('first-contentful-paint')[0]
  return {
    readable: (paint ? paint.startTime : page.domContentLoadedEventEnd) / 1000,
    complete: Math.max(page.loadEventEnd, ...entries.map(e => e.responseEnd)) / 1000,
    requests: 1 + entries.filter(e => e.transferSize > 0 || e.duration > 50).length,
  }
}"""
# By the browser's own clock, from the click to the change: what drives it takes 0.4 s itself. Kept
# where it outlives a page, since some acts lead to another one.
WATCH = """if (location.protocol.startsWith('http')) {
  addEventListener('click', () => { sessionStorage.clickedAt ??= Date.now() }, true)
  new MutationObserver(() => { sessionStorage.changedAt = Date.now() })
    .observe(document, {subtree: true, childList: true, attributes: true, characterData: true})
}"""
FORGET = "() => { delete sessionStorage.clickedAt }"
ACT_SECONDS = "() => (sessionStorage.changedAt - sessionStorage.clickedAt) / 1000"


@dataclass(frozen=True)
class Cost:
    """TCP payload bytes each way, requests, connections, and seconds on the line."""

    down: int = 0
    up: int = 0
    requests: int = 0
    connections: int = 0
    readable_seconds: float = 0.0
    seconds: float = 0.0

    def of_one_request(self) -> "Cost":
        """Return what one of these requests cost, all being alike."""
        of_one = {"down": self.down // self.requests, "up": self.up // self.requests}
        return replace(self, **of_one, requests=1)


class Visitor:
    """A signed-in browser at the far end of a line in front of one server."""

    def __init__(self, browser: Browser, port: int, path: str, state: StorageState) -> None:
        self.line = Line(port)
        self.url = f"http://127.0.0.1:{self.line.port}{path}"
        self._context = browser.new_context(
            storage_state=state, viewport={"width": 1100, "height": 900}
        )
        self._context.set_default_timeout(PATIENCE_MILLISECONDS)
        self._context.add_init_script(WATCH)
        self.page = self._context.new_page()

    def close(self) -> None:
        """Leave, and take the line down."""
        self._context.close()
        self.line.close()

    def visit(self) -> Cost:
        """Open the page in a new tab of the same browser over the bad line."""
        self.page.close()
        self.page = self._context.new_page()
        with self._counted() as cost:
            self.page.goto(self.url, wait_until="load")
            self.page.wait_for_load_state("networkidle")
        times = self.page.evaluate(TIMES)
        return replace(
            cost(),
            requests=times["requests"],
            readable_seconds=times["readable"],
            seconds=times["complete"],
        )

    def act(self, do: Callable[[Page], None], done: Callable[[Page], None]) -> Cost:
        """Do something on the open page over the bad line, until its effect is to be seen."""
        self.page.evaluate(FORGET)
        with self._requests() as requests, self._counted() as cost:
            do(self.page)
            done(self.page)
            seconds = self.page.evaluate(ACT_SECONDS)
            self.page.wait_for_load_state("networkidle")
        return replace(cost(), requests=len(requests), seconds=seconds)

    def watch(self, seconds: float) -> Cost:
        """Leave the open page to itself for a while."""
        with self._requests() as requests, self._counted() as cost:
            self.page.wait_for_timeout(1000 * seconds)
        return replace(cost(), requests=len(requests))

    @contextmanager
    def _requests(self) -> Iterator[list[Request]]:
        requests: list[Request] = []

        def count(request: Request) -> None:
            requests.append(request)

        self.page.on("request", count)
        yield requests
        self.page.remove_listener("request", count)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[], Cost]]:
        self.line.shape(CLINIC)
        self.line.recount()
        yield lambda: _cost(self.line.count)
        self.line.shape(OPEN)


def _cost(count: Count) -> Cost:
    return Cost(down=count.down, up=count.up, connections=count.connections)
