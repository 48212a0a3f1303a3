"""Numbers in an address, such as where the next page of a list begins."""

import re

from flask import request

# A row's number on the largest database, in decimal digits.
_NUMBER = re.compile(r"[0-9]{1,18}")


def number_in_address(name: str) -> int | None:
    """Return the whole number that the address gives for ``name``; None for anything else."""
    text = request.args.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else None
