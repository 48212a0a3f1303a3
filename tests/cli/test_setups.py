"""Set-ups from the shell: issued at the primary, and joined with at the satellite."""

import json

from panel.setups.setup_text import read_code, read_setup
from tests.support.shell import Shell

URL = "https://central.example.org"


def listed(primary: Shell) -> Shell:
    primary.do("servers", "add", "--sync-id", "7", "--name", "Kadavu", "--store", "KDV-01")
    return primary


def test_a_set_up_is_printed_as_file_link_or_characters(primary: Shell) -> None:
    shell = listed(primary)
    file = shell.do("servers", "setup", "7", "--url", URL)
    assert json.loads(file)["sync_panel_setup"] == 1
    setup = read_setup(file)
    assert (setup.sync_id, setup.name, setup.primary_store, setup.url) == (
        *(7, "Kadavu"),
        *("NAT-01", URL),
    )
    link = shell.do("servers", "setup", "7", "--as", "link")
    assert read_setup(link).url == URL, "the URL is that of the last one"
    assert read_code(shell.do("servers", "setup", "7", "--as", "characters"))


def test_it_needs_a_url_and_a_row(primary: Shell) -> None:
    shell = listed(primary)
    assert "url: Give the address" in shell.refused("servers", "setup", "7")
    assert "No server here has Sync ID 8" in shell.refused("servers", "setup", "8", "--url", URL)


def test_it_is_revoked(primary: Shell) -> None:
    shell = listed(primary)
    shell.do("servers", "setup", "7", "--url", URL)
    assert shell.do("servers", "revoke-setup", "7") == "Revoked.\n"
    assert "no set-up that is not used" in shell.refused("servers", "revoke-setup", "7")


def test_what_is_no_set_up_is_refused(shell: Shell) -> None:
    assert "This is no set-up" in shell.refused("join", shell.file("a.setup", "{}"))
    assert "cannot be read" in shell.refused("join", str(shell.folder / "none"))
    assert "these are 3" in shell.refused("join", stdin="ABC\n")
    assert "need the URL" in shell.refused("join", "-", stdin="KDV01-07PAP-AYA5P\n")


def test_a_primary_that_is_not_reached_is_told(shell: Shell, nowhere: str) -> None:
    told = shell.refused("join", "--url", nowhere, stdin="KDV01-07PAP-AYA5P\n")
    assert "cannot be reached" in told
