"""Reduced motion is honoured by there being none."""

import re
from pathlib import Path

STATIC = Path(__file__).resolve().parents[2] / "panel" / "static"


def test_nothing_moves_by_itself() -> None:
    style = (STATIC / "panel.css").read_text("utf-8")
    script = (STATIC / "panel.js").read_text("utf-8")
    assert not re.search(r"transition|animation|@keyframes|scroll-behavior", style)
    assert not re.search(r"animate\(|smooth", script)
