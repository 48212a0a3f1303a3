"""The settings of the installation: ``SYNC_PANEL_…`` in the environment, read once into a Config.

A wrong value ends the start with a message of one line. A secret may also come from a file, whose
path is in ``SYNC_PANEL_…_FILE``. A test compares :data:`SETTINGS` with docs/operate.md.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from panel.security.vault import has_key, read_or_make_key

PREFIX = "SYNC_PANEL_"
# In characters.
SHORTEST_SECRET_KEY, SHORTEST_PROXY_SECRET = 32, 24
# How many answers of a process may wait for something to happen, each in a thread of its own.
MOST_WAITING_ANSWERS = 8
# The key in the WSGI environment: a function that says whether to go on waiting.
STILL_WANTED = "panel.still_wanted"
# The ports that browsers leave out of an Origin.
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigError(Exception):
    """A setting has an unusable value; the text is one line for the person who starts the panel."""


@dataclass(frozen=True)
class Setting:
    """One environment variable: its name after :data:`PREFIX`, its purpose, and if it is secret."""

    name: str
    description: str
    secret: bool = False


SETTINGS = (
    Setting("HOST", "Address to listen on."),
    Setting("PORT", "Port to listen on."),
    Setting("DATA_DIR", "Folder of the database, the secret key and the generated Hardware ID."),
    Setting("DATABASE_URL", "SQLAlchemy URL of the database.", secret=True),
    Setting("SECRET_KEY", "Key that signs cookies and seals passwords.", secret=True),
    Setting("SECRET_KEY_FALLBACKS", "Older keys, separated by spaces.", secret=True),
    Setting("UNLOCK_MINUTES", "Minutes that an unlock lasts."),
    Setting("IDLE_MINUTES", "Minutes after which an unused session ends."),
    Setting("SESSION_HOURS", "Hours after which every session ends."),
    Setting("ALLOWED_HOSTS", "Host names under which the panel answers; others are refused."),
    Setting(
        "TRUSTED_PROXIES", "Addresses or networks of reverse proxies whose headers are trusted."
    ),
    Setting("REMOTE_USER_HEADER", "Header in which a trusted proxy names the person."),
    Setting("REMOTE_USER_SECRET", "Secret by which the panel recognises that proxy.", secret=True),
    Setting("PATH_PREFIX", "Path below which a reverse proxy serves the panel, such as /sync."),
    Setting("HARDWARE_ID", "Hardware ID to use instead of this machine's own."),
    Setting("EMBED_ORIGINS", "Origins whose pages may show the panel in a frame."),
    Setting("KEEP_DAYS", "Days for which runs, tombstones and deliveries are kept."),
    Setting("ACTIVITY_DAYS", "Days for which rows of Activity are kept."),
    Setting("ACTIVITY_ROWS", "Rows of Activity that are kept at most."),
    Setting("THREADS", "Threads that answer requests."),
    Setting("INITIALISES", "Satellites that may initialise from the beginning at the same time."),
)


@dataclass(frozen=True)
class Config:
    """The checked values of all settings. Units stand in the names; empty means not set."""

    data_dir: Path
    database_url: str
    secret_keys: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    unlock_minutes: int = 15
    idle_minutes: int = 60
    session_hours: int = 12
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    remote_user_header: str = ""
    remote_user_secret: str = field(default="", repr=False)
    path_prefix: str = ""
    hardware_id: str = ""
    embed_origins: tuple[str, ...] = ()
    keep_days: int = 90
    activity_days: int = 730
    activity_rows: int = 200_000
    threads: int = 8
    initialises: int = 8


def load(environment: Mapping[str, str], make: bool = True) -> Config:
    """Return the settings in ``environment``. Raise :class:`ConfigError` for the first bad one.

    With ``make`` the data folder and the secret key are created if they are missing. Without it
    nothing is created, and ``secret_keys`` is empty if there is no key.
    """
    source = _Source(environment)
    data_dir = _data_dir(source.text("DATA_DIR", "instance"), make)
    trusted_proxies = _networks(source.words("TRUSTED_PROXIES"))
    remote_user_header, remote_user_secret = _remote_user(source, trusted_proxies)
    return Config(
        data_dir=data_dir,
        database_url=_database_url(source.secret("DATABASE_URL"), data_dir),
        secret_keys=_secret_keys(source, data_dir, make),
        host=source.text("HOST", "127.0.0.1"),
        port=source.number("PORT", 8000, 0, 65_535),
        unlock_minutes=source.number("UNLOCK_MINUTES", 15, 1, 240),
        idle_minutes=source.number("IDLE_MINUTES", 60, 2, 720),
        session_hours=source.number("SESSION_HOURS", 12, 1, 12),
        allowed_hosts=tuple(_host(word) for word in source.words("ALLOWED_HOSTS")),
        trusted_proxies=trusted_proxies,
        remote_user_header=remote_user_header,
        remote_user_secret=remote_user_secret,
        path_prefix=_path_prefix(source.text("PATH_PREFIX")),
        hardware_id=_hardware_id(source.text("HARDWARE_ID")),
        embed_origins=tuple(_origin(word) for word in source.words("EMBED_ORIGINS")),
        keep_days=source.number("KEEP_DAYS", 90, 1, 3_650),
        activity_days=source.number("ACTIVITY_DAYS", 730, 30, 3_650),
        activity_rows=source.number("ACTIVITY_ROWS", 200_000, 1_000, 10_000_000),
        threads=source.number("THREADS", 8, 1, 64),
        initialises=source.number("INITIALISES", 8, 1, 10_000),
    )


class _Source:
    """The variables ``SYNC_PANEL_…`` of the environment; an unknown name is a ConfigError."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {
            name.removeprefix(PREFIX): value
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        known = {setting.name for setting in SETTINGS}
        known |= {f"{setting.name}_FILE" for setting in SETTINGS if setting.secret}
        for name in sorted(self._values.keys() - known):
            raise ConfigError(f"{PREFIX}{name} is not a setting of Sync Panel.")

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, "").strip() or default

    def words(self, name: str) -> list[str]:
        return self.text(name).replace(",", " ").split()

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self.text(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ConfigError(
                f"{PREFIX}{name} must be a whole number from {lowest} to {highest}, not {text!r}."
            )
        return int(text)

    def secret(self, name: str) -> str:
        file_name = self.text(f"{name}_FILE")
        if not file_name:
            return self.text(name)
        if self.text(name):
            raise ConfigError(f"Set {PREFIX}{name} or {PREFIX}{name}_FILE, not both.")
        try:
            return Path(file_name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{PREFIX}{name}_FILE cannot be read: {error}.") from error


def _data_dir(path: str, make: bool) -> Path:
    data_dir = Path(path).absolute()
    if not make:
        return data_dir
    try:
        # The folder holds the secret key: a new one is readable by its owner only.
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{PREFIX}DATA_DIR cannot be made: {error}.") from error
    return data_dir


def _database_url(url: str, data_dir: Path) -> str:
    if not url:
        return f"sqlite:///{data_dir / 'sync-panel.sqlite3'}"
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ConfigError(
            f"{PREFIX}DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://."
        )
    try:
        options = make_url(url).query
    except (ArgumentError, ValueError) as error:
        # Neither the value nor the parser's message is shown: both may hold a password.
        raise ConfigError(f"{PREFIX}DATABASE_URL is not a URL of SQLAlchemy.") from error
    if url.startswith("postgresql"):
        _check_driver(options)
    return url


def _check_driver(options: Mapping[str, object]) -> None:
    if find_spec("psycopg") is None:
        raise ConfigError(
            f"{PREFIX}DATABASE_URL needs the package psycopg: pip install 'sync-panel[postgresql]'"
        )
    # Imported late: an installation on SQLite does without it.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    for name in options:
        try:
            make_conninfo(**{name: ""})
        except ProgrammingError as error:
            raise ConfigError(
                f"{PREFIX}DATABASE_URL: PostgreSQL knows no option {name!r} behind the question "
                "mark. It knows those of libpq, such as sslmode and target_session_attrs."
            ) from error


def _secret_keys(source: _Source, data_dir: Path, make: bool) -> tuple[str, ...]:
    fallbacks = source.secret("SECRET_KEY_FALLBACKS").split()
    newest = source.secret("SECRET_KEY")
    if not newest and not make and not has_key(data_dir):
        return ()
    try:
        newest = newest or read_or_make_key(data_dir)
    except OSError as error:
        raise ConfigError(f"The secret key in {data_dir} cannot be read: {error}.") from error
    for key in (newest, *fallbacks):
        if len(key) < SHORTEST_SECRET_KEY:
            raise ConfigError(
                f"{PREFIX}SECRET_KEY and its fallbacks need at least "
                f"{SHORTEST_SECRET_KEY} characters each."
            )
    return (newest, *fallbacks)


def _networks(words: list[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in words)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}TRUSTED_PROXIES: {error}.") from error


def _remote_user(source: _Source, trusted_proxies: tuple[Network, ...]) -> tuple[str, str]:
    """Return the header in which a proxy names the person, and the secret that proves the proxy."""
    header, secret = source.text("REMOTE_USER_HEADER"), source.secret("REMOTE_USER_SECRET")
    if not header:
        return "", ""
    if not trusted_proxies:
        raise ConfigError(
            f"{PREFIX}REMOTE_USER_HEADER needs {PREFIX}TRUSTED_PROXIES: "
            "without it anybody could name themselves."
        )
    if not re.fullmatch(rf"[!-~]{{{SHORTEST_PROXY_SECRET},200}}", secret):
        raise ConfigError(
            f"{PREFIX}REMOTE_USER_HEADER needs {PREFIX}REMOTE_USER_SECRET, with at least "
            f"{SHORTEST_PROXY_SECRET} letters, digits and signs: without it every program "
            "at the proxy's address could name anybody."
        )
    return header, secret


def _host(word: str) -> str:
    host = word.lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:]+\]", host):
        raise ConfigError(
            f"{PREFIX}ALLOWED_HOSTS must hold names like central.example.org, without scheme, "
            f"port and path, not {word!r}."
        )
    return host


def _path_prefix(path: str) -> str:
    path = path.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise ConfigError(f"{PREFIX}PATH_PREFIX must look like /sync, not {path!r}.")
    return path


def _hardware_id(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._:-]{8,64}", text):
        raise ConfigError(
            f"{PREFIX}HARDWARE_ID must have 8 to 64 letters, digits or any of . _ : - in it."
        )
    return text


def _origin(word: str) -> str:
    # Written as browsers write an Origin, without the default port, because the two are compared.
    found = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/?", word.lower())
    if found is None:
        raise ConfigError(
            f"{PREFIX}EMBED_ORIGINS must hold origins like https://intranet.example.org, "
            f"not {word!r}."
        )
    scheme, host, port = found.groups("")
    return f"{scheme}://{host}{port if port != DEFAULT_PORTS[scheme] else ''}"
