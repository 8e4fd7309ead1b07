"""What the lock commands read and show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff import report, runbook
from bakeoff.adapters import clock, files, locks, yaml_files
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.settings import Settings
from bakeoff.config import Lock, PipelineConfig, name_problem, parse
from bakeoff.errors import ConfigError
from bakeoff.stages import lock as stage


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration, the file it was read from, and the name that its lock gets."""

    path: Path
    config: PipelineConfig
    name: str


def read(path: Path, given: dict[str, Any], name: str | None) -> Source:
    """Read the configuration at *path* with the dotted keys that were *given* on the command line.

    Raises ConfigError with every problem at once.
    """
    data = yaml_files.read(path, what="configuration")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values", hint="configs/baseline.yaml shows them all")
    chosen = name or str(data.pop("name", None) or path.stem)
    data.pop("name", None)
    problem = name_problem(chosen)
    if problem:
        raise ConfigError(f"{chosen!r} can't be a lock's name: {problem}", hint="--name another")
    for key, value in given.items():
        _assign(data, key.split("."), value, key)
    return Source(path, parse(data, source=str(path)), chosen)


def _assign(data: dict[str, Any], parts: list[str], value: Any, key: str) -> None:
    for part in parts[:-1]:
        below = data.setdefault(part, {})
        if below is None:
            below = data[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {part} is not a section", hint="configs/baseline.yaml shows every key")
        data = below
    data[parts[-1]] = value


@dataclass(frozen=True, slots=True)
class Result:
    """A lock, whether it is new, and the files that were written."""

    lock: Lock
    created: bool
    path: Path
    runbook: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the lock's own JSON, with what was written."""
        return {
            **self.lock.to_json(),
            "created": self.created,
            "path": str(self.path),
            "runbook": None if self.runbook is None else str(self.runbook),
        }

    def text(self) -> str:
        """Return what a person wants to know of a new lock."""
        lock, said = self.lock, "locked" if self.created else "already locked (an equal configuration has this lock)"
        rows = [
            ("CHUNK_VERSION", lock.chunk_version),
            ("CONFIG_HASH", lock.config_hash),
            ("EMBEDDER_NAME", f"{lock.embedder.name} ({lock.embedder.backend}, {lock.embedder.precision})"),
            ("embedder reads", f"{lock.embedder.reads}, gives {lock.embedder.dimension} dimensions"),
            ("TOKENIZER_NAME", lock.embedder.tokenizer.name),
            ("TOKENIZER_HASH", lock.embedder.tokenizer.sha256),
            ("seed", str(lock.config.seed)),
            ("chunk table", lock.table_name),
            ("written to", str(self.path)),
        ]
        if self.runbook is not None:
            rows.append(("runbook", str(self.runbook)))
        body = "\n".join(f"  {name:<15} {value}" for name, value in rows)
        return f"{lock.name}: {said}\n{body}\nnext: bakeoff shadow-ingest --lock {lock.config_hash} CORPUS"


def lock(conn: Connection, source: Source, settings: Settings, *, with_runbook: bool) -> Result:
    """Lock *source* and write the lock's JSON (and its runbook) into the artifacts."""
    values = settings.values
    made = stage.run(
        conn,
        source.config,
        name=source.name,
        source=str(source.path),
        now=clock.now(),
        cache_dir=values.home / "models",
    )
    path = files.write_json(values.artifacts / "locks" / f"{made.lock.chunk_version}.json", made.lock.to_json())
    written = _write_runbook(conn, made.lock, values.artifacts) if with_runbook else None
    return Result(made.lock, made.created, path, written)


def _write_runbook(conn: Connection, made: Lock, artifacts: Path) -> Path:
    active = locks.active(conn)
    text = runbook.render(made, baseline=None if active is None else active[0])
    return files.write(artifacts / "runbooks" / f"{made.chunk_version}.md", text.encode())


def _damaged(state: locks.Damaged) -> dict[str, Any]:
    unknown = dict.fromkeys(("ingest", "evaluations", "chunking", "prefix", "embedder"))
    return {
        "name": state.name,
        "chunk_version": state.chunk_version,
        "config_hash": state.config_hash,
        "state": "damaged",
        **unknown,
        "created_at": state.created_at.isoformat(),
        "table": state.table_name,
    }


def row(state: locks.LockState | locks.Damaged) -> dict[str, Any]:
    """Return one lock's state as a row that carries the ids other commands take."""
    if isinstance(state, locks.Damaged):
        return _damaged(state)
    chunking = state.lock.config.chunking
    return {
        "name": state.lock.name,
        "chunk_version": state.lock.chunk_version,
        "config_hash": state.lock.config_hash,
        "state": "active" if state.active else "archived" if state.archived else "locked",
        "ingest": state.ingest_stage,
        "evaluations": state.evaluations,
        "chunking": f"{chunking.strategy} {chunking.size}/{chunking.overlap}",
        "prefix": state.lock.config.prefix.policy,
        "embedder": f"{state.lock.embedder.name} ({state.lock.embedder.backend})",
        "created_at": state.lock.created_at.isoformat(),
        "table": state.lock.table_name,
    }


def listing(rows: list[dict[str, Any]]) -> str:
    """Return the table of locks."""
    if not rows:
        return "no locks yet\nnext: bakeoff lock-config configs/baseline.yaml"
    shown = ("name", "config_hash", "chunk_version", "state", "ingest", "evaluations")
    cells = [
        [*(item[key] for key in shown), ", ".join(item[key] or "?" for key in ("chunking", "prefix", "embedder"))]
        for item in rows
    ]
    columns = ("name", "CONFIG_HASH", "CHUNK_VERSION", "state", "ingest", "runs>", "chunks, prefix, embedder")
    return report.table("Locks, newest first", columns, cells).terminal()


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    found: dict[str, Any] = {}
    for name, below in value.items():
        found |= _flat(below, f"{key}.{name}" if key else name)
    return found


def differences(a: Lock, b: Lock) -> list[dict[str, Any]]:
    """Return each key in which the configurations, or the models they were resolved to, differ."""
    left, right = (
        _flat({**item.config.model_dump(mode="json"), "resolved": item.embedder.model_dump(mode="json")})
        for item in (a, b)
    )
    keys = sorted(left.keys() | right.keys())
    return [{"key": key, "a": left.get(key), "b": right.get(key)} for key in keys if left.get(key) != right.get(key)]


def difference_table(a: Lock, b: Lock, changes: list[dict[str, Any]]) -> str:
    """Return the differences as a table."""
    if not changes:
        return f"{a.name} and {b.name} are the same configuration"
    columns = ("key", f"{a.name} {a.chunk_version}", f"{b.name} {b.chunk_version}")
    rows = [(change["key"], change["a"], change["b"]) for change in changes]
    return report.table(f"{a.config_hash} → {b.config_hash}", columns, rows).terminal()
