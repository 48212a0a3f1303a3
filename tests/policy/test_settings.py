"""Every setting of the installation is in the table of docs/operate.md, and no other is."""

import re

from panel.config import SETTINGS

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
