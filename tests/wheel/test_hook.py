"""The build hook stops rather than pack an htmx that nobody tried."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_TOOLS = Path(sys.prefix) / "build"


@pytest.mark.parametrize("version", ["2.0.11", "2.0.10-beta1", "4.0.0-beta6", "4.0.1"])
def test_another_htmx_stops_the_build(version: str, tmp_path: Path) -> None:
    source, packages = tmp_path / "source", tmp_path / "packages"
    static = source / "panel" / "static"
    static.mkdir(parents=True)
    (static / "panel.js").touch()
    (static / "panel.css").touch()
    shutil.copy(ROOT / "hatch_build.py", source)
    pretend_django_htmx(packages, version)
    done = subprocess.run(
        [sys.executable, source / "hatch_build.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(BUILD_TOOLS)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"htmx 2.0.10 was expected, found {version}" in done.stderr
    assert not (static / "built" / "manifest.json").exists()


def pretend_django_htmx(packages: Path, version: str) -> None:
    script = packages / "django_htmx" / "static" / "django_htmx" / "htmx-2.min.js"
    script.parent.mkdir(parents=True)
    script.write_text(f'var htmx={{version:"{version}"}}', encoding="utf-8")
    about = packages / "django_htmx-1.29.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: django-htmx\nVersion: 1.29.0\n", "utf-8")
