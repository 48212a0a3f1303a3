"""Stock records as a clinic has them: about 415 bytes of JSON each, always the same ones."""

import gzip
import json
import random
import uuid
from datetime import date, timedelta

from tests.support.records_api import Line

COUNT = 10_000
BATCH = 1_000


def stock_records(prefix: str) -> list[Line]:
    """Return the records as the local API takes them; ``prefix`` makes another set of them."""
    chance = random.Random(f"stock of {prefix}")  # noqa: S311 - not for secrets
    items = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(400)]
    stores = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(3)]
    return [_record(chance, items, stores) for _ in range(COUNT)]


def _record(chance: random.Random, items: list[str], stores: list[str]) -> Line:
    packs = chance.randrange(0, 900)
    record_id = str(uuid.UUID(int=chance.getrandbits(128)))
    expiry = date(2027, 1, 1) + timedelta(days=chance.randrange(1_500))
    return {
        "table": "stock_line",
        "id": record_id,
        "data": {
            "id": record_id,
            "item_id": chance.choice(items),
            "store_id": chance.choice(stores),
            "location_code": f"{chance.choice('ABCDEF')}{chance.randrange(1, 40):02}",
            "batch": f"{chance.choice('KLMNP')}{chance.randrange(10_000, 99_999)}",
            "expiry_date": expiry.isoformat(),
            "pack_size": chance.choice((1, 10, 20, 100, 1_000)),
            "cost_price_per_pack": round(chance.uniform(0.2, 90), 2),
            "sell_price_per_pack": round(chance.uniform(0.2, 120), 2),
            "available_number_of_packs": max(0, packs - chance.randrange(0, 40)),
            "total_number_of_packs": packs,
            "on_hold": chance.random() < 0.05,
            "supplier_id": chance.choice(items[:20]),
            "note": "",
        },
    }


def bytes_of_whole(records: list[Line]) -> tuple[int, int]:
    """Return the size of the records as JSON Lines, and of that through ``gzip -6`` as a whole."""
    lines = "".join(json.dumps(record["data"], separators=(",", ":")) + "\n" for record in records)
    return len(lines.encode()), len(gzip.compress(lines.encode(), 6))
