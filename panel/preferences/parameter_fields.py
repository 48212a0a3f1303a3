"""The parameters as they are typed, and what each may be by itself."""

import re
from dataclasses import dataclass, replace

from panel.i18n import say
from panel.models.base import (
    LARGEST_REQUEST,
    NAME_LENGTH,
    PRIMARY_SYNC_ID,
    SMALLEST_REQUEST,
    STORE_LENGTH,
    USER_NAME_LENGTH,
)
from panel.models.settings import Settings, SyncProtocol
from panel.preferences.fields import Checks

PROTOCOLS = (SyncProtocol.ASK, SyncProtocol.OWN, SyncProtocol.V5)
LONGEST_CA = 20_000


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
    protocol: str = SyncProtocol.ASK
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
        url=checks.url("url", typed.url),
        private_ca=_tidy_ca(checks, typed.private_ca),
        fingerprint=_tidy_fingerprint(checks, typed.fingerprint),
    )


def _tidy_ca(checks: Checks, typed: str) -> str:
    pem = "\n".join(line.strip() for line in typed.strip().splitlines())
    if not pem:
        return ""
    # Imported late: it takes 2 MB, and hardly anybody has an authority of their own.
    from cryptography import x509

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


def parameters_of(settings: Settings) -> Parameters:
    """Return the saved parameters; the password is left as it is."""
    return Parameters(
        sync_id=settings.sync_id,
        name=settings.name,
        store=settings.store,
        user_name=settings.user_name,
        password=None,
        url=settings.url,
        request_size=settings.request_size,
        protocol=settings.protocol,
        private_ca=settings.private_ca,
        fingerprint=settings.fingerprint,
    )
