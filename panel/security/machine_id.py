"""The Hardware ID of this machine: the same after every start, telling nothing else about it."""

import secrets
from pathlib import Path

import machineid

from panel.paths import write_once

APPLICATION = "sync-panel"
FILE_NAME = "hardware_id"
LENGTH = 32


def own_hardware_id(configured: str, data_dir: Path) -> str:
    """Return this machine's Hardware ID: ``configured`` if not empty, else 32 hex digits."""
    return configured or _of_the_machine() or _made_here(data_dir)


def _made_here(data_dir: Path) -> str:
    """For machines without an ID of their own, such as some containers."""
    return write_once(data_dir / FILE_NAME, lambda: secrets.token_hex(LENGTH // 2))


def _of_the_machine() -> str:
    # Half of the SHA-256 tells machines apart as well, and is half as long to read and to send.
    try:
        return str(machineid.hashed_id(APPLICATION))[:LENGTH]
    except (machineid.MachineIdNotFound, OSError):
        return ""
