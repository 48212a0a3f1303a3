"""Odd values from a neighbour, a file or a person: one clear refusal, and nothing later fails."""

import json
from base64 import b64encode
from typing import Any
from unittest.mock import create_autospec

import pytest
import trustme

from panel.errors import Invalid
from panel.preferences.field_checks import Checks
from panel.preferences.parameter_table import PARAMETERS
from panel.site_file import document
from panel.site_file.document import read_site
from panel.sync.protocol.json_reader import BadMessage
from panel.sync.protocol.messages import Answer
from panel.sync.transport import exchange_client
from panel.sync.transport.http import HttpTransport, LinkFault, Response, Target, Transport

PASSPHRASE = "a passphrase of the tests"
AUTHORITY = trustme.CA().cert_pem.bytes().decode()
KEY = trustme.CA().private_key_pem.bytes().decode()


@pytest.mark.parametrize("token", ["7.€uro", "7.a b", "7.a\u00e9", "7.\u202ea"])
def test_a_device_token_that_no_header_takes_is_refused(token: str) -> None:
    with pytest.raises(BadMessage):
        Answer.from_json({"version": 1, "token": token})


@pytest.mark.parametrize("token", ["7.€uro", "7.a b"])
def test_so_is_one_that_a_machine_gets_as_it_joins(token: str) -> None:
    names = ("name", "store", "primary_name", "primary_store", "user_name", "password")
    answer = {**dict.fromkeys(names, "x"), "sync_id": 7, "token": token}
    line = create_autospec(Transport, instance=True)
    line.send.return_value = Response(200, {}, json.dumps(answer).encode(), 0.1)
    with pytest.raises(LinkFault) as refused:
        exchange_client.join(line, "a code", "a machine")
    assert refused.value.code == "not_a_sync_server"


WHOLE: dict[str, Any] = {"password": "x", "password_hash": None, "servers": {}}


@pytest.mark.parametrize(
    "plain",
    [
        [],
        7,
        {},
        {**WHOLE, "servers": []},
        {**WHOLE, "servers": {"seven": "x"}},
        {**WHOLE, "servers": {"7": 7}},
        {**WHOLE, "password": ["x"]},
        {**WHOLE, "password_hash": {"a": 1}},
    ],
)
def test_sealed_secrets_of_an_odd_shape_are_refused(plain: Any) -> None:
    salt = b"sixteen bytes 12"
    sealed = document._fernet(PASSPHRASE, salt).encrypt(json.dumps(plain).encode())
    secrets = {"salt": b64encode(salt).decode(), "sealed": sealed.decode()}
    file = {"format": document.FORMAT, "version": document.VERSION, "secrets": secrets}
    with pytest.raises(Invalid) as refused:
        read_site(file, PASSPHRASE)
    assert "damaged" in str(refused.value.problems["file"].text)


def tidy(pem: str) -> tuple[str, str]:
    checks = Checks()
    kept = PARAMETERS["private_ca"].tidy(checks, pem)
    return kept, checks.problems["private_ca"].text if checks.problems else ""


def test_of_an_authority_only_the_certificates_are_kept() -> None:
    kept, reason = tidy(f"# Ministério da Saúde\n{AUTHORITY}\nand more\n")
    assert (kept.strip(), reason) == (AUTHORITY.strip(), "")
    HttpTransport(Target("https://127.0.0.1:9", kept)).close()


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (AUTHORITY + KEY, "private key"),
        (KEY, "private key"),
        (AUTHORITY + AUTHORITY.replace("-----END CERTIFICATE-----", ""), "no certificate"),
        ("# Ministério", "no certificate"),
        (AUTHORITY * 11, "At most"),
        ("x" * 20_001, "At most"),
    ],
    ids=["with a key", "a key", "without an end", "none", "too many", "too long"],
)
def test_what_is_no_authority_is_refused_and_not_kept(pem: str, words: str) -> None:
    kept, reason = tidy(pem)
    assert kept == ""
    assert words in reason


def test_an_authority_that_was_kept_with_its_comment_fails_in_words() -> None:
    with pytest.raises(LinkFault) as failed:
        HttpTransport(Target("https://127.0.0.1:9", f"# Ministério\n{AUTHORITY}"))
    assert failed.value.code == "certificate"
