"""``sync-panel records``: JSON Lines in and out, and a cursor that goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from panel.cli import records as records_commands
from panel.cli import terminal
from tests.support.shell import Shell


def item(record_id: str, **data: Any) -> str:
    return json.dumps({"table": "item", "id": record_id, "data": data}) + "\n"


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def configured(shell: Shell) -> Shell:
    shell.do("settings", "set", "sync_id=1", "name=National Store", "store=NAT-01")
    return shell


@pytest.mark.both_databases
def test_records_go_in_from_a_file_and_out_again(shell: Shell) -> None:
    configured(shell)
    file = shell.file("in.jsonl", item("b", name="Émile") + item("a"))
    assert shell.do("records", "put", file) == "2 lines, 2 records changed.\n"
    out = shell.folder / "out.jsonl"
    shell.do("records", "export", str(out))
    assert ids(out.read_text("utf-8")) == ["a", "b"]
    assert shell.do("records", "put", str(out)) == "2 lines, 0 records changed.\n"


def test_standard_input_and_output_are_files_too(primary: Shell) -> None:
    primary.do("records", "put", "-", stdin=item("a") + item("b"))
    assert ids(primary.do("records", "export", "-")) == ["a", "b"]
    assert ids(primary.do("records", "export", "-", "--table", "stock")) == []


def test_a_table_is_listed(primary: Shell) -> None:
    primary.do("records", "put", "-", stdin=item("a") + item("b"))
    assert "Owner" in primary.do("records", "list", "item")
    listed = json.loads(primary.do("records", "list", "item", "--json", "--after", "a"))
    assert [record["id"] for record in listed] == ["b"]


def test_changes_go_on_from_the_cursor_that_was_printed(primary: Shell) -> None:
    primary.do("records", "put", "-", stdin=item("a") + item("b"))
    first = primary.run("records", "changes", "-")
    assert ids(first.stdout) == ["a", "b"]
    primary.do("records", "put", "-", stdin='{"table": "item", "id": "a", "deleted": true}\n')
    file = primary.folder / "changes.jsonl"
    primary.do("records", "changes", str(file), "--since", first.stderr.strip())
    (change,) = map(json.loads, file.read_text("utf-8").splitlines())
    assert (change["id"], change["deleted"]) == ("a", True)


def test_a_bad_line_is_named_and_exit_code_1(primary: Shell) -> None:
    assert "Line 2:" in primary.refused("records", "put", "-", stdin=item("a") + "{\n")


def test_a_file_that_is_refused_half_way_stays_as_it_was(primary: Shell) -> None:
    kept = Path(primary.file("kept.jsonl", "as it was"))
    primary.refused("records", "changes", str(kept), "--since", "never given out")
    assert kept.read_text("utf-8") == "as it was"


def test_a_server_without_a_sync_id_owns_nothing(shell: Shell) -> None:
    assert "Sync ID" in shell.refused("records", "put", "-", stdin=item("a"))


def test_archived_records_are_given_back(primary: Shell) -> None:
    primary.do("servers", "add", "--sync-id", "8", "--name", "Labasa", "--store", "LBS-01")
    line = '{"table": "item", "id": "a", "data": {}, "to": 8}\n'
    primary.do("records", "put", "-", stdin=line)
    other = ("servers", "edit", "8", "--name", "Lautoka", "--store", "LTK-01")
    assert "--confirm records=archive" in primary.refused(*other)
    primary.do(*other, "--confirm", "records=archive")
    assert ids(primary.do("records", "export", "-", "--archived")) == ["a"]
    asked = primary.run("records", "unarchive", "8", stdin="n\n")
    assert "Give the archived records back to 8 Lautoka?" in asked.stderr
    assert primary.do("records", "unarchive", "8", "--yes").startswith("1 records.")
    assert ids(primary.do("records", "export", "-", "--archived")) == []
    assert "no archived records" in primary.refused("records", "unarchive", "8", "--yes")


@pytest.mark.parametrize("watched", [True, False])
def test_long_work_shows_its_progress_to_who_looks_on(
    primary: Shell, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda: watched)
    monkeypatch.setattr(records_commands, "is_terminal", lambda: watched)
    monkeypatch.setattr("click._termui_impl.isatty", lambda _stream: watched)
    put = primary.run("records", "put", "-", stdin=item("a") + item("b"))
    export = primary.run("records", "export", str(primary.folder / "all"))
    for result, what in ((put, "Storing records"), (export, "Writing records")):
        assert (what in result.stderr, "100%" in result.stderr) == (watched, watched)
