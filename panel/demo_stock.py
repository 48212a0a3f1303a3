"""Sample records for the demo: the primary's items, each store's stock, and what it is sent."""

# ruff: noqa: S311 - chance makes samples here, and guards nothing
import random
from collections.abc import Sequence
from datetime import date, timedelta

from panel import clock
from panel.models.base import PRIMARY_SYNC_ID
from panel.sync.store.write_checks import Write

_ITEMS = (
    ("amox250", "Amoxicillin 250mg tab/cap"),
    ("para500", "Paracetamol 500mg tab"),
    ("ors", "Oral rehydration salts, sachet"),
    ("art-lum", "Artemether/lumefantrine 20/120mg tab"),
    ("zinc20", "Zinc sulfate 20mg dispersible tab"),
    ("metf500", "Metformin 500mg tab"),
    ("amlo5", "Amlodipine 5mg tab"),
    ("ceft1g", "Ceftriaxone 1g powder for injection"),
    ("oxyt10", "Oxytocin 10IU/ml injection, 1ml amp"),
    ("gloves-m", "Gloves, examination, medium, pair"),
    ("rdt-mal", "Malaria rapid diagnostic test"),
    ("mr-vac", "Measles-rubella vaccine, 10 doses"),
)
_MOST_PACKS = 400


def first_records(sync_id: int, store: str) -> list[Write]:
    """Return what a server has before anybody looks: the items, or a line of stock for each."""
    if sync_id == PRIMARY_SYNC_ID:
        return [_item(code, name) for code, name in _ITEMS]
    return [_stock_line(code, store) for code, _name in _ITEMS]


def next_records(sync_id: int, store: str, satellites: Sequence[int]) -> list[Write]:
    """Return what changes next: stock is counted; the primary sets a price, or sends goods."""
    code, name = random.choice(_ITEMS)
    if sync_id != PRIMARY_SYNC_ID:
        return [_stock_line(code, store)]
    return [random.choice((_item(code, name), _transfer(code, random.choice(satellites))))]


def _item(code: str, name: str) -> Write:
    data = {"code": code, "name": name, "price": random.randint(10, 2_000) / 100}
    return Write("item", code, data)


def _stock_line(code: str, store: str) -> Write:
    data = {
        "item": code,
        "store": store,
        "batch": f"B{random.randint(1_000, 9_999)}",
        "expiry": str(_day_ahead(random.randint(60, 900))),
        "packs": random.randint(0, _MOST_PACKS),
    }
    return Write("stock_line", f"{store}-{code}", data)


def _transfer(code: str, to: int) -> Write:
    data = {"item": code, "packs": random.randint(1, _MOST_PACKS), "sent": str(_day_ahead(0))}
    return Write("transfer", f"{to}-{code}", data, to)


def _day_ahead(days: int) -> date:
    return (clock.now() + timedelta(days=days)).date()
