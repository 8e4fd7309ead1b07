"""Settings of an installation: environment > `.env` > `bakeoff.yaml` > defaults, each with its origin.

Callers may rely on: nothing else reads the environment; `describe` never shows a password. `bakeoff.yaml` may hold a
section a deployment (`environments: {production: {...}}`), chosen by BAKEOFF_ENV, which wins over the file's top level.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from bakeoff.adapters import files
from bakeoff.errors import ConfigError

PREFIX = "BAKEOFF_"
FILE = "bakeoff.yaml"
DEVELOPMENT = "development"
"""The deployment where none is named."""
MASK = "***"
_SECRETS = frozenset({"password", "sslpassword"})


class Values(BaseModel):
    """The settings themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str = DEVELOPMENT
    """The deployment: picks a section of bakeoff.yaml."""
    database_url: str | None = None
    """Any PostgreSQL with pgvector; unset: the embedded one in `home`."""
    home: Path = Path(".bakeoff")
    """Embedded database and converted models."""
    artifacts: Path = Path("artifacts")
    """Where commands write JSON and Markdown."""
    workers: Annotated[int, Field(ge=1, le=3)] = 1
    """Evaluation workers: two or three at the most."""
    idle_minutes: Annotated[float, Field(gt=0)] = 30.0
    """After so long without a connection the embedded server stops."""
    connect_timeout_s: Annotated[int, Field(ge=1, le=300)] = 10
    operator: str | None = None
    """Who moves traffic, as the history names them; unset: the login name."""
    webhook_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+")] | None = None
    """Where every move of a rollout is told by POST."""
    webhook_secret: SecretStr | None = None
    """What those messages are signed with."""
    signing_key: SecretStr | None = None
    """What seals are signed with, a PEM or a file of one; unset: the active key in `home`."""
    key_passphrase: SecretStr | None = None
    """What the private keys are encrypted with."""
    rag: Annotated[Literal["", "0", "1"], BeforeValidator(str)] = ""
    """Routing in this process: 0 is its kill switch, 1 asks for the candidate as a request's header does."""


_NAMES = frozenset(Values.model_fields)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values, and where each came from (`default` or a source's name)."""

    values: Values
    origin: dict[str, str]

    def describe(self) -> list[tuple[str, str, str]]:
        """Return (name, value without secrets, origin) of every setting."""
        rows = []
        for name, value in self.values.model_dump().items():
            shown = _SHOWN[name](value) if name in _SHOWN and value else value
            rows.append((name, "" if shown is None else str(shown), self.origin.get(name, "default")))
        return rows


class _Reader(BaseSettings, Values):
    """Lets pydantic-settings read each source by itself, so that the origin is known."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", defer_build=True)


def without_password(url: str) -> str:
    """Return *url* with its passwords replaced by `***`, in both forms that libpq takes.

    A URL that can't be read, or where a password may stand in another part, is `***` as a whole.
    """
    from psycopg import ProgrammingError  # `verify` reads settings, and needs no driver
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return MASK
    if "://" not in url:
        masked: dict[str, Any] = {**parts, **dict.fromkeys(_SECRETS & parts.keys(), MASK)}
        return make_conninfo(**masked)
    port = str(parts.get("port") or "")
    if url.count("@") > 1 or (port and not port.replace(",", "").isdigit()):
        return MASK  # a password with a bare `@` or `/`: libpq takes half of it for the host
    hidden = re.sub(r"^(\w+://[^:@/?]*):[^@/?]*@", rf"\1:{MASK}@", url)
    return re.sub(rf"([?&](?:{'|'.join(sorted(_SECRETS))})=)[^&]*", rf"\1{MASK}", hidden)


def address(url: str) -> str:
    """Return where *url* leads, without its path and user: a webhook's path is often its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" + (f"/{MASK}" if parts.path.strip("/") or parts.query else "")


_SHOWN: dict[str, Callable[[Any], str]] = {
    "database_url": without_password,
    "webhook_url": address,
    **dict.fromkeys(("webhook_secret", "signing_key", "key_passphrase"), lambda _: MASK),
}
"""How settings that may hold secrets are shown."""


def operator(settings: Settings) -> str:
    """Return who is at work, as histories name them: BAKEOFF_OPERATOR, or else the login name."""
    given = " ".join((settings.values.operator or "").split())
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        return "unknown"


def _from_file(folder: Path, named: str | None) -> dict[str, dict[str, Any]]:
    path = folder / FILE
    if not path.exists():
        return {}
    from bakeoff.adapters import yaml_files  # only where there is one: see there

    data = yaml_files.read(path, what="settings file") or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values")
    sections = _section(data.pop("environments", None), f"{path}: environments")
    deployment = named or DEVELOPMENT
    if named is not None and sections and named not in sections:
        raise ConfigError(
            f"BAKEOFF_ENV is {named!r}, but {path} has no environments.{named}",
            hint=f"it has {', '.join(map(str, sections))}",
        )
    section = _section(sections.get(deployment), f"{path}: environments.{deployment}")
    return {f"{FILE} (environments.{deployment})": section, FILE: data}


def _section(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise ConfigError(f"{where}: expected keys and values")
    return value or {}


def _from_dotenv(path: Path) -> dict[str, Any]:
    """Return what is ours in a `.env` file; it may hold other programs' settings too."""
    if not path.exists():
        return {}
    files.read_text(path, what=".env file")
    return {name: value for name, value in DotEnvSettingsSource(_Reader, env_file=path)().items() if name in _NAMES}


def load(folder: Path | None = None) -> Settings:
    """Return the settings that hold in *folder* (default: here). Raises ConfigError with every problem at once."""
    here = folder or Path.cwd()
    sources: dict[str, dict[str, Any]] = {
        "environment": dict(EnvSettingsSource(_Reader)()),
        ".env": _from_dotenv(here / ".env"),
    }
    named = next((str(found["env"]) for found in sources.values() if "env" in found), None)
    sources |= _from_file(here, named)
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, found in sources.items():
        for key, value in found.items():
            if key not in merged:
                merged[key], origin[key] = value, name
    try:
        return Settings(Values.model_validate(merged), origin)
    except ValidationError as error:
        problems = tuple(
            f"{origin.get(str(item['loc'][0]), FILE)}: {'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors()
        )
        raise ConfigError("settings are wrong", problems=problems, hint="correct the values named above") from error
