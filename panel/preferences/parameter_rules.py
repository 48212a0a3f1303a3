"""What the parameters may be: value by value, by this server's role, by what follows."""

import re
from dataclasses import dataclass, replace

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from panel.errors import Invalid
from panel.models import (
    LARGEST_REQUEST,
    NAME_LENGTH,
    PRIMARY_SYNC_ID,
    SMALLEST_REQUEST,
    STORE_LENGTH,
    USER_NAME_LENGTH,
    Server,
    Settings,
    searchable,
)
from panel.preferences.checks import Checks
from panel.preferences.urls import check_url
from panel.sync.models import Record, Run
from panel.words import Message, say

PROTOCOLS = ("ask", "own", "v5")
LONGEST_CA = 20_000
HTTP_WARNING = say(
    "With http, everything on the way can be read and changed by others, the records too. "
    "Use https if the primary can."
)
PRIMARY_URL_WARNING = say("This server is the primary: a URL here disables sync for all.")


@dataclass(frozen=True)
class Parameters:
    """The parameters as they were typed.

    ``password`` None or empty leaves it as it is; ``request_size`` (records) None is automatic;
    ``private_ca`` is PEM text and ``fingerprint`` a SHA-256 in hex, colons or not.
    """

    sync_id: int | None
    name: str
    store: str
    user_name: str
    password: str | None
    url: str
    request_size: int | None
    protocol: str = "ask"
    private_ca: str = ""
    fingerprint: str = ""

    @property
    def is_primary(self) -> bool:
        """Say whether satellites would come to this server."""
        return self.sync_id == PRIMARY_SYNC_ID

    @property
    def is_satellite(self) -> bool:
        """Say whether this server would go to a primary."""
        return self.sync_id is not None and not self.is_primary


def tidy(checks: Checks, typed: Parameters) -> Parameters:
    """Return the values as they are to be kept; what is wrong with each alone is in ``checks``."""
    size = typed.request_size
    if size is not None and not SMALLEST_REQUEST <= size <= LARGEST_REQUEST:
        reason = say(
            "Automatic (empty), or from %(smallest)s to %(largest)s records.",
            smallest=SMALLEST_REQUEST,
            largest=LARGEST_REQUEST,
        )
        checks.refuse("request_size", reason)
    if typed.protocol not in PROTOCOLS:
        checks.refuse("protocol", say("Choose one of the protocols."))
    return replace(
        typed,
        sync_id=checks.sync_id("sync_id", typed.sync_id),
        name=checks.text("name", typed.name, NAME_LENGTH),
        store=checks.text("store", typed.store, STORE_LENGTH),
        user_name=checks.text("user_name", typed.user_name, USER_NAME_LENGTH),
        password=checks.secret("password", typed.password) if typed.password else None,
        url=tidy_url(checks, typed.url),
        private_ca=_tidy_ca(checks, typed.private_ca),
        fingerprint=_tidy_fingerprint(checks, typed.fingerprint),
    )


def tidy_url(checks: Checks, typed: str) -> str:
    """Return the URL as it is to be kept; what is wrong with it is in ``checks``."""
    try:
        return check_url(typed)[0]
    except Invalid as error:
        checks.refuse("url", error.problems["url"])
        return ""


def _tidy_ca(checks: Checks, typed: str) -> str:
    pem = "\n".join(line.strip() for line in typed.strip().splitlines())
    if not pem:
        return ""
    try:
        x509.load_pem_x509_certificates(pem[:LONGEST_CA].encode())
    except ValueError:
        checks.refuse("private_ca", say("This is no certificate in PEM form."))
    return f"{pem}\n"


def _tidy_fingerprint(checks: Checks, typed: str) -> str:
    fingerprint = re.sub(r"[\s:]", "", typed).lower()
    if fingerprint and not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        checks.refuse("fingerprint", say("A SHA-256 fingerprint has 64 hexadecimal digits."))
    return fingerprint


def check_role(session: Session, checks: Checks, settings: Settings, wanted: Parameters) -> None:
    """Gather what does not go together: the wanted role, the rows of the list, the password."""
    _check_list(session, checks, wanted)
    if wanted.is_satellite and not wanted.password and _only_hashed(settings):
        reason = say("Type the Password again: a primary's cannot be sent, only checked.")
        checks.refuse("password", reason)


def _only_hashed(settings: Settings) -> bool:
    return settings.password_hash is not None and settings.password_sealed is None


def _check_list(session: Session, checks: Checks, wanted: Parameters) -> None:
    live = select(Server).where(Server.removed_at.is_(None)).limit(1)
    same_id = session.scalar(live.where(Server.sync_id == wanted.sync_id))
    if wanted.sync_id is not None and same_id is not None:
        reason = say("%(server)s in the list has this Sync ID.", server=label(same_id))
        checks.refuse("sync_id", reason)
    elif wanted.is_satellite:
        satellites = live.with_only_columns(func.count()).where(Server.sync_id != PRIMARY_SYNC_ID)
        if session.scalar(satellites.limit(None)):
            reason = say("A satellite lists the primary only. Remove the other servers first.")
            checks.refuse("sync_id", reason)
    elif wanted.is_primary and wanted.user_name:
        same_name = live.where(Server.user_name_key == searchable(wanted.user_name))
        if (server := session.scalar(same_name)) is not None:
            reason = say("%(server)s has this User name of its own.", server=label(server))
            checks.refuse("user_name", reason)


def serious_acts(session: Session, settings: Settings, wanted: Parameters) -> dict[str, Message]:
    """Return what must be confirmed before ``wanted`` is saved, and what will follow, by name."""
    acts = {}
    if wanted.sync_id != settings.sync_id and has_synchronised(session):
        acts["sync_id"] = _sync_id_warning(wanted.sync_id)
    if wanted.url and (wanted.url != settings.url or wanted.is_primary != settings.is_primary):
        if wanted.is_primary:
            acts["url_on_primary"] = PRIMARY_URL_WARNING
        elif check_url(wanted.url)[1]:
            acts["url_http"] = HTTP_WARNING
    return acts


def _sync_id_warning(sync_id: int | None) -> Message:
    if sync_id is None:
        return say("This server has synchronised records. Without a Sync ID it stops doing so.")
    return say(
        "Records were synchronised here already. They stay with the Sync ID that wrote them, and "
        "this server can no longer change them. As %(sync_id)s it starts anew and must initialise.",
        sync_id=sync_id,
    )


def has_synchronised(session: Session) -> bool:
    """Say whether this server holds records or has ever run a sync."""
    return any(session.scalar(select(table.id).limit(1)) for table in (Record, Run))


def label(server: Server) -> str:
    """Return what people call a row of the list."""
    return f"{server.sync_id} {server.name}"
