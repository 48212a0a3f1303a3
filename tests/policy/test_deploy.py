"""The unit for systemd: what it closes, and that the panel's own needs stay open."""

import re
import shutil
import subprocess

import pytest

from tests.policy.conftest import ROOT

UNIT = ROOT / "deploy/sync-panel.service"
# Of 10; lower is safer. What is left: TCP, Unix sockets, and the system's own files, read only.
MOST_EXPOSED = 1.5


def test_the_unit_closes_what_the_panel_does_not_need() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    command = [program, "security", "--no-pager", "--offline=true", str(UNIT)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level .*: ([\d.]+)", told.stdout)
    if found is None:
        pytest.skip("this systemd does not judge files")
    assert float(found[1]) <= MOST_EXPOSED


def test_the_unit_keeps_open_what_the_panel_needs() -> None:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(settings["RestrictAddressFamilies"].split())
    assert settings["StateDirectory"] == "sync-panel"
    assert int(settings["LimitNOFILE"]) >= 3_600
    assert re.fullmatch(r"\d+M", settings["MemoryMax"])
    # SECURITY.md promises 250 MiB for the panel alone.
    assert int(settings["MemoryMax"][:-1]) >= 300
