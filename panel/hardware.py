"""The Hardware ID of this machine: the same after every start, telling nothing else about it."""

import os
import secrets
from pathlib import Path

import machineid

from panel.config import Config

APPLICATION = "sync-panel"
FILE_NAME = "hardware_id"
LENGTH = 32


def own_hardware_id(config: Config) -> str:
    """Return this machine's Hardware ID: 32 hex digits, or what ``SYNC_PANEL_HARDWARE_ID`` says."""
    return config.hardware_id or _of_the_machine() or _made_once(config.data_dir / FILE_NAME)


def _of_the_machine() -> str:
    # Half of the SHA-256 tells machines apart as well, and is half as long to read and to send.
    try:
        return str(machineid.hashed_id(APPLICATION))[:LENGTH]
    except (machineid.MachineIdNotFound, OSError):
        return ""


def _made_once(path: Path) -> str:
    """For machines without an ID of their own, such as some containers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.write_text(secrets.token_hex(LENGTH // 2), encoding="ascii")
        try:
            # A link fails where the name exists: of two processes starting at once, one ID wins.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()
