"""The Hardware ID: the machine's own, made once where it has none, or what the settings say."""

from pathlib import Path

import machineid
import pytest

from panel.config import Config, load
from panel.installation import own_hardware_id


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load({"SYNC_PANEL_DATA_DIR": str(tmp_path)})


@pytest.fixture
def no_machine_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_application: str) -> str:
        raise machineid.MachineIdNotFound

    monkeypatch.setattr(machineid, "hashed_id", fail)


def test_it_is_a_hash_for_this_application(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("machineid.id", lambda: "the-id-of-the-machine")
    hardware_id = own_hardware_id("", config.data_dir)
    assert own_hardware_id("", config.data_dir) == hardware_id
    assert len(hardware_id) == 32
    monkeypatch.setattr("machineid.id", lambda: "another-machine")
    assert own_hardware_id("", config.data_dir) != hardware_id


def test_the_setting_overrides(config: Config) -> None:
    assert own_hardware_id("spare-machine", config.data_dir) == "spare-machine"


@pytest.mark.usefixtures("no_machine_id")
def test_where_there_is_none_one_is_made_and_kept(config: Config, tmp_path: Path) -> None:
    hardware_id = own_hardware_id("", config.data_dir)
    assert len(hardware_id) == 32
    assert own_hardware_id("", config.data_dir) == hardware_id
    assert own_hardware_id("", tmp_path / "another") != hardware_id
    assert [path.name for path in tmp_path.iterdir() if "hardware" in path.name] == ["hardware_id"]
