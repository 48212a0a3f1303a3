"""The file that carries a server's preferences to another machine: its shape, and its secrets.

    {"format": "sync-panel site", "version": 1,
     "settings": {"sync_interval": 10, "sync_id": 7, "name": "…", …},
     "servers": [{"sync_id": 1, "name": "…", "store": "…", "url": "", "user_name": ""}],
     "secrets": {"salt": "…", "sealed": "…"}}

``settings`` may name some keys only, ``servers`` and ``secrets`` may be missing. What is sealed is
JSON too: each secret of the parameters, as ``password``; on a primary its ``password_hash``; and
``servers``, the hash of each own password by Sync ID.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from panel.errors import Invalid
from panel.i18n import Message, say
from panel.preferences.parameter_kinds import Number
from panel.preferences.parameter_table import plain_preferences
from panel.preferences.parameter_table import secrets as parameter_secrets
from panel.preferences.server_fields import ServerFields

FORMAT, VERSION = "sync-panel site", 1
SHORTEST_PASSPHRASE = 12
SERVER_TEXTS = ("name", "store", "url", "user_name")


@dataclass(frozen=True)
class Secrets:
    """What is sealed in a file: each secret of the parameters by its key, and what is hashed.

    Hashes are argon2's of what travels on the wire.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    password_hash: str | None = None
    server_hashes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """What a file says. A key not in ``settings`` stays as it is; so does the list if None."""

    settings: Mapping[str, Any]
    servers: list[ServerFields] | None
    secrets: Secrets = field(default_factory=Secrets)


def read_site(document: object, passphrase: str | None) -> Site:
    """Return what ``document``, decoded JSON, says.

    Raise :class:`Invalid` (field ``file`` or ``passphrase``) if it is no such file, or its secrets
    do not open.
    """
    top = _object(document, say("This is no file that sync-panel export wrote."))
    if top.get("format") != FORMAT:
        raise _wrong(say("This is no file that sync-panel export wrote."))
    if top.get("version") != VERSION:
        raise _wrong(say("Another version of Sync Panel wrote this file."))
    _refuse_unknown(top, {"format", "version", "settings", "servers", "secrets"})
    return Site(
        settings=_settings(top.get("settings", {})),
        servers=_servers(top["servers"]) if "servers" in top else None,
        secrets=_open(top["secrets"], passphrase) if "secrets" in top else Secrets(),
    )


def seal(secrets: Secrets, passphrase: str) -> dict[str, str]:
    """Return ``secrets`` encrypted under ``passphrase``: what a file has under that name."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        reason = say("At least %(shortest)s characters.", shortest=SHORTEST_PASSPHRASE)
        raise Invalid({"passphrase": reason})
    salt = os.urandom(16)
    plain = {
        **{secret.key: secrets.parameters.get(secret.key) for secret in parameter_secrets()},
        "password_hash": secrets.password_hash,
        "servers": {str(number): value for number, value in secrets.server_hashes.items()},
    }
    sealed = _fernet(passphrase, salt).encrypt(json.dumps(plain).encode())
    return {"salt": base64.b64encode(salt).decode(), "sealed": sealed.decode()}


def _open(sealed: object, passphrase: str | None) -> Secrets:
    if passphrase is None:
        reason = say("This file has secrets in it, and opens with its passphrase only.")
        raise Invalid({"passphrase": reason})
    parts = _object(sealed, say("The secrets in this file are damaged."))
    try:
        salt = base64.b64decode(parts["salt"], validate=True)
        plain = json.loads(_fernet(passphrase, salt).decrypt(parts["sealed"]))
        return _secrets(plain)
    except InvalidToken as error:
        raise Invalid({"passphrase": say("This passphrase does not open the file.")}) from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise _wrong(say("The secrets in this file are damaged.")) from error


def _secrets(plain: Any) -> Secrets:
    """Return what was sealed. Raise any of what :func:`_open` takes for damage."""
    hashes = {int(number): value for number, value in plain["servers"].items()}
    known = {secret.key for secret in parameter_secrets()}
    given = {key: plain[key] for key in known & plain.keys() if plain[key]}
    password_hash = plain["password_hash"]
    texts = [*hashes.values(), *given.values(), "" if password_hash is None else password_hash]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a secret is no text")
    return Secrets(given, password_hash, hashes)


def _fernet(passphrase: str, salt: bytes) -> Fernet:
    # OWASP's Password Storage Cheat Sheet, the choice that takes 32 MiB.
    scrypt = Scrypt(salt=salt, length=32, n=2**15, r=8, p=3)
    return Fernet(base64.urlsafe_b64encode(scrypt.derive(passphrase.encode())))


def _settings(found: object) -> dict[str, Any]:
    settings, plain = _object(found, say("“settings” must be an object.")), plain_preferences()
    _refuse_unknown(settings, set(plain))
    for key, value in settings.items():
        parameter = plain[key]
        if isinstance(parameter, Number):
            _check_number(key, value, parameter.required)
        else:
            _check_text(key, value)
    return settings


def _servers(found: object) -> list[ServerFields]:
    if not isinstance(found, list):
        raise _wrong(say("“servers” must be a list."))
    servers = [_server(entry) for entry in found]
    numbers = {server.sync_id for server in servers}
    if None in numbers or len(numbers) < len(servers):
        raise _wrong(say("Each of “servers” needs a Sync ID of its own."))
    return servers


def _server(found: object) -> ServerFields:
    entry = _object(found, say("Each of “servers” must be an object."))
    _refuse_unknown(entry, {"sync_id", *SERVER_TEXTS})
    texts = {key: entry.get(key, "") for key in SERVER_TEXTS}
    for key, value in texts.items():
        _check_text(key, value)
    _check_number("sync_id", entry.get("sync_id"))
    return ServerFields(sync_id=entry.get("sync_id"), **texts)


def _check_number(key: str, value: object, required: bool = False) -> None:
    if type(value) is not int and (value is not None or required):
        raise _wrong(say("“%(key)s” must be a whole number.", key=key))


def _check_text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(say("“%(key)s” must be a text.", key=key))


def _object(found: object, reason: Message) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _wrong(reason)
    return found


def _refuse_unknown(found: Mapping[str, object], known: set[str]) -> None:
    for key in sorted(found.keys() - known):
        raise _wrong(say("“%(key)s” is no key of such a file.", key=key))


def _wrong(reason: Message) -> Invalid:
    return Invalid({"file": reason})
