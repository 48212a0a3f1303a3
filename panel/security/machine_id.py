"""The Hardware ID of this machine: the same after every start, and it reveals nothing else."""

import secrets
from pathlib import Path

import machineid

from panel.paths import write_once

APPLICATION = "sync-panel"
FILE_NAME = "hardware_id"
LENGTH = 32


def own_hardware_id(configured: str, data_dir: Path) -> str:
    """Return ``configured`` if it is not empty, else 32 hex digits that identify this machine.

    A machine without an ID of its own, such as some containers, gets one in a file of ``data_dir``.
    Raise OSError if that file is unusable.
    """
    return configured or _hashed_machine_id() or _generated_id(data_dir)


def _hashed_machine_id() -> str:
    # Half of the SHA-256 still tells machines apart, and is half as long to read and to send.
    try:
        return str(machineid.hashed_id(APPLICATION))[:LENGTH]
    except (machineid.MachineIdNotFound, OSError):
        return ""


def _generated_id(data_dir: Path) -> str:
    return write_once(data_dir / FILE_NAME, lambda: secrets.token_hex(LENGTH // 2))
