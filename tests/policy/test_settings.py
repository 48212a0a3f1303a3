"""The documents name every setting of the installation, every key of the shell, and no other."""

import re

from panel.config import SETTINGS
from panel.preferences.parameter_table import preferences

IN_TABLE = re.compile(r"^\|\s*`SYNC_PANEL_([A-Z0-9_]+)`", re.MULTILINE)
ANYWHERE = re.compile(r"\bSYNC_PANEL_([A-Z0-9]+(?:_[A-Z0-9]+)*)")
DOCUMENTS = (".md", ".service", ".env", ".conf")
KNOWN = {setting.name for setting in SETTINGS}
FILES = {f"{setting.name}_FILE" for setting in SETTINGS if setting.secret}


def test_the_table_has_each_setting_once(texts: dict[str, str]) -> None:
    assert sorted(IN_TABLE.findall(texts["docs/operate.md"])) == sorted(KNOWN)


def test_every_setting_says_what_it_is_for() -> None:
    assert [setting.name for setting in SETTINGS if len(setting.description) < 10] == []


def test_no_document_names_a_setting_that_does_not_exist(texts: dict[str, str]) -> None:
    documents = {name: text for name, text in texts.items() if name.endswith(DOCUMENTS)}
    unknown = {
        (name, setting)
        for name, text in documents.items()
        for setting in ANYWHERE.findall(text)
        if setting not in KNOWN | FILES
    }
    assert unknown == set()


def test_the_keys_of_the_shell_are_listed_in_their_order(texts: dict[str, str]) -> None:
    document = texts["docs/command-line.md"]
    listed = re.search(r"\*\*Keys of `settings set`\*\*:(.*?)\. ", document, re.DOTALL)
    assert listed
    assert re.findall(r"`(\w+)`", listed[1]) == list(preferences())
