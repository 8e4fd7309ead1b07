"""Files of gates, rollouts and probes: the project's own, else those that come with the package.

Callers may rely on: a path that exists is what is read; one that does not is looked for among the standard files when
it names one of them (`configs/...`), and nowhere else.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from bakeoff import probes as probe_files
from bakeoff import rules, strategy
from bakeoff.adapters import yaml_files
from bakeoff.probes import ProbeFile
from bakeoff.rules import Profile
from bakeoff.strategy import Strategy

_FOLDER = "configs"


def folder() -> Path:
    """Return the folder of standard files: inside the installed package, or the checkout's."""
    installed = Path(str(resources.files("bakeoff"))) / "_configs"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / _FOLDER


def located(path: Path) -> Path:
    """Return *path*, or the standard file of that name where *path* is not there and is one of theirs."""
    if not path.exists() and path.parts[:1] == (_FOLDER,):
        own = folder().joinpath(*path.parts[1:])
        if own.exists():
            return own
    return path


def value(path: Path, *, what: str) -> Any:
    """Return the YAML value of *path*. Raises InputError."""
    return yaml_files.read(located(path), what=what)


def profile(path: Path) -> Profile:
    """Return the gates in *path*. Raises InputError, ConfigError."""
    return rules.parse(value(path, what="gates file"), source=str(path))


def probes(path: Path) -> ProbeFile:
    """Return the probes in *path*. Raises InputError, ConfigError."""
    found = located(path)
    return probe_files.parse(yaml_files.read(found, what="probes file"), source=str(found))


def rollout(path: Path) -> Strategy:
    """Return the rollout in *path*. Raises InputError, ConfigError."""
    return strategy.parse(value(path, what="rollout file"), source=str(path))
