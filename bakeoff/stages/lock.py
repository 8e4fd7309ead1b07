"""Make a configuration a lock: resolve its models, check it, give it a version, store it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bakeoff.adapters import embedders, ingests, locks, rerankers, rollouts
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock, PipelineConfig, config_hash, table_name, window_problems
from bakeoff.errors import ConfigError, StateError
from bakeoff.stages import repair


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock, and whether this call made it (False: an equal configuration was locked before)."""

    lock: Lock
    created: bool


def windows(config: PipelineConfig, embedder: embedders.Embedder) -> list[str]:
    """Return what is wrong between the windows of *config* and what its *embedder* reads, in words."""
    empty_prefix = config.prefix.render(title="", doc_id="")
    return window_problems(
        config,
        embedder.identity,
        prefix_tokens=embedder.tokenizer.counts([empty_prefix])[0] if empty_prefix else 0,
        special=embedder.tokenizer.special_tokens,
    )


def _check(config: PipelineConfig, embedder: embedders.Embedder, source: str) -> None:
    problems = windows(config, embedder)
    if problems:
        raise ConfigError(
            f"{source} can't be locked: {problems[0]}",
            problems=tuple(problems),
            hint="change the sizes that the message names",
        )


def _check_language(conn: Connection, config: PipelineConfig, source: str) -> None:
    known = locks.languages(conn)
    if config.index.language not in known:
        raise ConfigError(
            f"{source} can't be locked: index.language is {config.index.language!r}, which this server does not have",
            hint=f"it has {', '.join(known)}",
        )


def run(conn: Connection, config: PipelineConfig, *, name: str, source: str, now: datetime, cache_dir: Path) -> Locked:
    """Lock *config*, read from *source*, under *name*.

    An equal configuration returns the lock that exists. Raises ConfigError with the numbers where windows do not fit
    the embedder or the server lacks the language, ModelError where a model can't be loaded.
    """
    _check_language(conn, config, source)
    embedder = embedders.open_embedder(config.embedder, cache_dir=cache_dir)
    try:
        _check(config, embedder, source)
        identity = embedder.identity
    finally:
        embedder.close()
    reranker = rerankers.identify_reranker(config.reranker, cache_dir=cache_dir) if config.reranker else None
    hashed = config_hash(config, identity, reranker)
    with conn.transaction():
        locks.serialise(conn)
        existing = locks.by_hash(conn, hashed)
        if existing is not None:
            return Locked(existing, created=False)
        version = locks.next_version(conn, f"{now:%Y-%m-%d}")
        lock = Lock(
            name=name,
            chunk_version=f"{now:%Y-%m-%d}-v{version}",
            config_hash=hashed,
            table_name=table_name(now, version),
            created_at=now,
            config=config,
            embedder=identity,
            reranker=reranker,
        )
        locks.insert(conn, lock)
    return Locked(lock, created=True)


_END = "bakeoff canary rollback or abort ends it at once; bakeoff canary status shows where it is"


def _moving(conn: Connection) -> Rollout | None:
    """Return the rollout whose traffic is on its way; a simulated one moves nobody, and holds nobody up."""
    found = rollouts.current(conn)
    return None if found is None or found.clock == "simulated" else found


def activate(conn: Connection, lock: Lock, *, now: datetime, reason: str) -> None:
    """Record that *lock* is the one in production from *now* on.

    Raises StateError where it can't be: archived, not ingested, a table or an index missing, traffic on its way between
    two locks; IntegrityError where its rows are not those that were ingested.
    """
    with conn.transaction():
        locks.serialise(conn)
        moving = _moving(conn)
        if moving is not None:
            raise StateError(
                f"{moving.rollout_id} is on its way: what is in production stays until it has ended", hint=_END
            )
        since = locks.active_since(conn, lock)
        if since is not None:
            raise StateError(f"{lock.name} ({lock.config_hash}) is already active since {since:%Y-%m-%d %H:%M:%S} UTC")
        if locks.is_archived(conn, lock):
            raise StateError(
                f"{lock.name} ({lock.config_hash}) is archived",
                hint=f"bakeoff locks archive --restore {lock.config_hash}",
            )
        ingest = ingests.of_lock(conn, lock)
        if ingest is None or ingest.stage != "done":
            raise StateError(
                f"{lock.name} ({lock.config_hash}) has no finished ingest: nothing to answer from",
                hint=f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS",
            )
        repair.require_whole(conn, lock, ingest)
        locks.add_event(conn, lock, "activated", at=now, reason=reason)


def archive(conn: Connection, lock: Lock, *, now: datetime, reason: str, restore: bool = False) -> None:
    """Take *lock* out of use, or back into it; its table stays.

    Raises StateError for the active lock, for either lock of a rollout that is on its way, and for no change.
    """
    with conn.transaction():
        locks.serialise(conn)
        moving = _moving(conn)
        if moving is not None and not restore and lock.config_hash in (moving.baseline, moving.candidate):
            side = "baseline" if lock.config_hash == moving.baseline else "candidate"
            raise StateError(
                f"{lock.name} ({lock.config_hash}) is the {side} of {moving.rollout_id}, which is on its way", hint=_END
            )
        if locks.active_since(conn, lock) is not None and not restore:
            raise StateError(f"{lock.name} ({lock.config_hash}) is the active lock", hint="activate another one first")
        if locks.is_archived(conn, lock) is not restore:
            said = "not archived" if restore else "already archived"
            raise StateError(f"{lock.name} ({lock.config_hash}) is {said}")
        locks.add_event(conn, lock, "restored" if restore else "archived", at=now, reason=reason)
