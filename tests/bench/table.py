"""The table of docs/measurements.md: what the pages cost, what they may, and what peers cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.bench.pages import Measured
from tests.bench.visits import Cost


@dataclass(frozen=True)
class Limit:
    """What a visit or an act may cost; None is not limited."""

    down: int | None = None
    up: int | None = None
    requests: int | None = None
    connections: int | None = None
    readable_seconds: float | None = None
    seconds: float | None = None


_ACT = Limit(down=600, up=1_300, requests=1, seconds=1.5)
LIMITS = {
    "cold": Limit(down=21_000, requests=2, connections=1, readable_seconds=2.7, seconds=6.8),
    "warm": Limit(down=300, up=1_000, requests=1, seconds=1.3),
    "changed": Limit(down=4_500),
    "open dialog": _ACT,
    "close dialog": _ACT,
    # Brings the fields of the parameters.
    "unlock": Limit(down=2_000, up=1_300, requests=1, seconds=1.5),
    "save interval": _ACT,
    "open new row": _ACT,
    "add": _ACT,
    "open row": _ACT,
    "edit": _ACT,
    "ask to remove": _ACT,
    "remove": _ACT,
    "undo": _ACT,
    "lock": _ACT,
    "idle tab, 60 s": Limit(down=0, up=0, requests=0),
    "one poll of a run": Limit(down=300, requests=1),
}
FEWEST_REQUESTS_PER_SECOND, MOST_MEBIBYTES = 300, 90


def lines(measured: Mapping[str, Measured]) -> Iterable[str]:
    """Yield the lines of the table, in Markdown: a column for each of ``measured``, by its title.

    What is above its limit stands in bold. Limits are the panel's, the first column's.
    """
    yield _row("", "at most", *measured)
    yield _row("---", *["---"] * (1 + len(measured)))
    for what, limit in LIMITS.items():
        costs = [one.costs.get(what) for one in measured.values()]
        yield _row(what, _limit(limit), *(_cost(cost, limit) for cost in costs))
    fewest = f"at least {FEWEST_REQUESTS_PER_SECOND}"
    drawn = [f"{one.drawn.per_second:.0f}" for one in measured.values()]
    yield _row("requests/s, another page each time", fewest, *drawn)
    unchanged = [
        f"{one.unchanged.per_second:.0f}" if one.unchanged else "" for one in measured.values()
    ]
    yield _row("requests/s, 304", fewest, *unchanged)
    memories = [f"{one.mebibytes:.0f}" for one in measured.values()]
    yield _row("MiB resident after it", str(MOST_MEBIBYTES), *memories)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _limit(limit: Limit) -> str:
    parts = [
        f"{limit.down:,} B down" if limit.down is not None else "",
        f"{limit.up:,} up" if limit.up is not None else "",
        f"{limit.requests} req" if limit.requests is not None else "",
        f"{limit.connections} conn" if limit.connections is not None else "",
        f"readable {limit.readable_seconds} s" if limit.readable_seconds is not None else "",
        f"{limit.seconds} s" if limit.seconds is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _cost(cost: Cost | None, limit: Limit) -> str:
    if cost is None:
        return ""
    parts = [
        _marked(f"{cost.down:,}", cost.down, limit.down),
        _marked(f"{cost.up:,}", cost.up, limit.up),
        _marked(f"{cost.requests}", cost.requests, limit.requests),
    ]
    if limit.connections is not None:
        parts.append(_marked(f"{cost.connections} conn", cost.connections, limit.connections))
    if cost.readable_seconds:
        parts.append(
            _marked(f"{cost.readable_seconds:.1f}", cost.readable_seconds, limit.readable_seconds)
        )
    if cost.seconds:
        parts.append(_marked(f"{cost.seconds:.1f} s", cost.seconds, limit.seconds))
    return ", ".join(parts)


def _marked(text: str, value: float, limit: float | None) -> str:
    return f"**{text}**" if limit is not None and round(value, 1) > limit else text
