"""What the build hook made for the browser."""

import base64
import gzip
import hashlib
import json
import re
from typing import Any

import brotli
import pytest

from panel.paths import BUILT, MANIFEST

SMALLEST_LINE = 24_000  # bytes that page, style and script may take together on a cold visit


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    assert MANIFEST.exists(), "nothing was built: make build"
    loaded: dict[str, Any] = json.loads(MANIFEST.read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def script(manifest: dict[str, Any]) -> bytes:
    name: str = manifest["files"]["app.js"]
    return (BUILT / name).read_bytes()


def test_htmx_is_2_0_10_and_no_pre_release(manifest: dict[str, Any], script: bytes) -> None:
    versions = re.findall(rb'version:"([^"]*)"', script)
    assert versions == [b"2.0.10"]
    assert manifest["htmx"] == "2.0.10"
    assert not re.search(rb"\d\.\d+\.\d+-?(?:alpha|beta|rc)", script)


def test_the_script_is_named_after_its_content(manifest: dict[str, Any], script: bytes) -> None:
    digest = hashlib.sha256(script).hexdigest()[:16]
    assert manifest["files"]["app.js"] == f"app.{digest}.js"


def test_prepared_encodings_hold_the_same(manifest: dict[str, Any]) -> None:
    scripts = [name for name in manifest["files"].values() if name.endswith(".js")]
    for name in scripts:
        plain = (BUILT / name).read_bytes()
        assert brotli.decompress((BUILT / f"{name}.br").read_bytes()) == plain
        assert gzip.decompress((BUILT / f"{name}.gz").read_bytes()) == plain


def test_script_and_style_leave_room_for_the_page(manifest: dict[str, Any]) -> None:
    script = (BUILT / (manifest["files"]["app.js"] + ".br")).stat().st_size
    style = len(brotli.compress((BUILT / "panel.css").read_bytes()))
    assert script + style < SMALLEST_LINE - 3_000


def test_the_style_has_the_hash_that_the_policy_names(manifest: dict[str, Any]) -> None:
    style = (BUILT / manifest["files"]["panel.css"]).read_bytes()
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert manifest["csp"]["panel.css"] == f"sha256-{digest}"
    # Written into the page between two tags, where any of these would end it or change it.
    assert not re.search(rb"</|<!--|\r|^\s|\s$", style)


def test_nothing_is_left_of_an_older_build(manifest: dict[str, Any]) -> None:
    wanted = set(manifest["files"].values())
    wanted |= {name + end for name in wanted if name.endswith(".js") for end in (".br", ".gz")}
    assert {path.name for path in BUILT.iterdir()} == wanted | {"manifest.json"}
