"""The built wheel is whole: it installs and serves where there is no source tree."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from re import search
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_TOOLS = Path(sys.prefix) / "build"
SECONDS_TO_START = 60

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    assert BUILD_TOOLS.is_dir(), "the build requirements are missing: make build"
    source = folder / "source"
    copy_of_the_source(source)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(BUILD_TOOLS)},
        capture_output=True,
        check=True,
    )
    return next(folder.glob("*.whl"))


def copy_of_the_source(target: Path) -> None:
    # Not in the tree itself: the hook would write there while other tests read.
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())


def test_everything_that_is_no_python_is_inside(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "panel/static/built/manifest.json" in names
    for folder in ("templates", "migrations"):
        ours = {path for path in (ROOT / folder).rglob("*") if path.is_file()}
        ours = {path for path in ours if "__pycache__" not in path.parts}
        assert {f"panel/{path.relative_to(ROOT).as_posix()}" for path in ours} <= names
    catalogues = (ROOT / "panel" / "translations").rglob("*.po")
    compiled = {path.with_suffix(".mo").relative_to(ROOT).as_posix() for path in catalogues}
    assert compiled <= names


def test_nothing_else_is_inside(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"panel", "sync_panel"}
    ends = ("panel.js", "panel/static/panel.css", ".po", ".pyc", "htmx-2.min.js")
    assert [name for name in names if name.endswith(ends)] == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of a fresh environment with this wheel in it.

    The packages it needs are lent by the test environment, whose versions are those of run.txt; the
    panel itself is not, since an editable install is a .pth, which a folder on the path does not
    read.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(python_of(home)), "install"]
    subprocess.run([*install, "-q", "--no-deps", "--no-index", wheel], check=True)
    packages = next(home.glob("[Ll]ib/**/site-packages"))
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python_of(home).parent


def python_of(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def test_the_panel_is_the_one_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "from panel import paths as p; print(p.TEMPLATES, p.MIGRATIONS, p.MANIFEST, sep='\\n')"
    answer = subprocess.run(
        [installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for line in answer.stdout.splitlines():
        assert Path(line).is_relative_to(installed.parent)
        assert Path(line).exists()


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNC_PANEL_")}
    environment = {
        **inherited,
        "SYNC_PANEL_DATA_DIR": str(tmp_path / "data"),
        "SYNC_PANEL_PORT": str(port),
    }
    log = (tmp_path / "log").open("w+", encoding="utf-8")
    panel = subprocess.Popen(
        [installed / "sync-panel", "up"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_healthy(address, panel, tmp_path / "log")
        yield address
    finally:
        panel.terminate()
        panel.wait(20)
        log.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def get(url: str) -> tuple[int, str]:
    try:
        answer: HTTPResponse = urlopen(url, timeout=10)  # noqa: S310 - our own server
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    with answer:
        return answer.status, answer.read().decode()


def wait_until_healthy(address: str, panel: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and panel.poll() is None:
        try:
            if get(f"{address}/healthz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the installed panel did not start:\n{log.read_text('utf-8')}")


def test_it_serves_its_first_page_with_style_and_script(served: str, installed: Path) -> None:
    status, page = get(f"{served}/")
    assert status == 200
    assert "<style" in page
    manifest = json.loads(
        next(installed.parent.glob("[Ll]ib/**/built/manifest.json")).read_text("utf-8")
    )
    source = search(r'<script[^>]*\bsrc="([^"]+)"', page)
    assert source is not None
    assert source[1].endswith(manifest["files"]["app.js"])
    status, script = get(f"{served}{source[1]}")
    assert status == 200
    assert 'version:"2.0.10"' in script
