"""The examples for nginx and Apache, with real ones where they are installed."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from panel.migrate import upgrade
from panel.sync.transport.http import LinkFault
from tests.storm.fleet import TEXT, LeanLine
from tests.support.lean_satellite import LeanSatellite
from tests.support.processes import ForkedPanel, free_port
from tests.support.real_site import NATIONAL, Place, Site

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PREFIX = "/sync"
# As many as stand behind one address of a provider.
SATELLITES, SYNCS_EACH, PAGES = 40, 3, 20
BEHIND = "127.0.1.1"
WAIT_SECONDS = 30
MODULES = Path("/usr/lib/apache2/modules")

NGINX = """
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    {zones}
    server {{
        listen 127.0.0.1:{port};
        {example}
    }}
}}
"""
APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
ServerName panel.example
Mutex pthread
User nobody
Group nogroup
{modules}
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
{example}
</VirtualHost>
"""
APACHE_MODULES = "mpm_event authz_core alias headers proxy proxy_http reqtimeout"


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Site]:
    """A primary below /sync/, with satellites in its list that never called."""
    settings = {
        "SYNC_PANEL_PATH_PREFIX": PREFIX,
        "SYNC_PANEL_TRUSTED_PROXIES": "127.0.0.1",
        "SYNC_PANEL_INITIALISES": str(SATELLITES),
    }
    panel = ForkedPanel(tmp_path / "primary", environment=settings)
    upgrade(panel.config.database_url)
    site = Site(NATIONAL, panel)
    site.configure(others=[Place(n, f"Clinic {n}", f"C-{n}") for n in range(2, 2 + SATELLITES)])
    panel.start()
    yield site
    site.close()


def test_nginx_lets_forty_satellites_behind_one_address_pass(primary: Site, tmp_path: Path) -> None:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    example = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    port = free_port()
    zones = "\n".join(re.findall(r"^#   (limit_\w+_zone .*)$", example, re.MULTILINE))
    # Its workers give up root, and would not reach the folder of the test.
    user = "user root;" if os.geteuid() == 0 else ""
    values = {"user": user, "folder": tmp_path, "zones": zones, "port": port}
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(NGINX.format(example=_to(primary, example), **values))
    command = [program, "-p", str(tmp_path), "-c", str(configuration)]
    check_example([*command, "-t"], [*command, "-g", "daemon off;"], port)


def test_apache_lets_forty_satellites_behind_one_address_pass(
    primary: Site, tmp_path: Path
) -> None:
    program = shutil.which("apache2")
    if program is None or not MODULES.is_dir():
        pytest.skip("Debian's Apache is not installed")
    example = (DEPLOY / "apache.conf").read_text(encoding="utf-8")
    port = free_port()
    modules = "\n".join(
        f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in APACHE_MODULES.split()
    )
    values = {"folder": tmp_path, "modules": modules, "port": port}
    configuration = tmp_path / "apache.conf"
    configuration.write_text(APACHE.format(example=_to(primary, example), **values))
    command = [program, "-f", str(configuration)]
    check_example([*command, "-t"], [*command, "-DFOREGROUND"], port)


def check_example(test: list[str], run: list[str], port: int) -> None:
    """Let the proxy check its configuration; start it, and let satellites and people through."""
    checked = subprocess.run(test, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    proxy = subprocess.Popen(run, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        with ThreadPoolExecutor(SATELLITES + 1) as pool:
            visiting = pool.submit(_visit, port)
            list(pool.map(lambda n: _synchronise(port, n), range(2, 2 + SATELLITES)))
            assert visiting.result() == [200] * PAGES
    finally:
        proxy.terminate()
        proxy.wait(WAIT_SECONDS)


def _to(primary: Site, example: str) -> str:
    return example.replace("127.0.0.1:8000", f"127.0.0.1:{primary.process.port}")


def _synchronise(port: int, sync_id: int) -> None:
    """Join and synchronise; a refusal of the proxy or the panel is raised."""
    line = LeanLine(port, BEHIND, PREFIX)
    satellite = LeanSatellite(Place(sync_id, f"Clinic {sync_id}", f"C-{sync_id}"))
    _repeat(lambda: satellite.join(line))
    for _ in range(SYNCS_EACH):
        items = satellite.write([TEXT])
        _repeat(lambda items=items: satellite.call(line, items))  # type: ignore[misc]
    line.close()


def _repeat(call: Callable[[], None]) -> None:
    """Call again where the proxy has ended a kept connection, as satellites do."""
    try:
        call()
    except LinkFault as fault:
        if fault.code != "cut_off":
            raise
        call()


def _visit(port: int) -> list[int]:
    """Ask for a page as somebody behind the same address, each time on a new connection."""
    statuses = []
    for _ in range(PAGES):
        connection = HTTPConnection("127.0.0.1", port, WAIT_SECONDS, source_address=(BEHIND, 0))
        connection.request("GET", f"{PREFIX}/sign-in")
        statuses.append(connection.getresponse().status)
        connection.close()
    return statuses


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), WAIT_SECONDS).close()
        except OSError:
            assert time.monotonic() < deadline, "the proxy did not start"
            time.sleep(0.05)
        else:
            return
