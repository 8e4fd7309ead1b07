"""Check a sweep whole, before anything of it is stored: its configurations, its questions, who will be asked what.

Callers may rely on: every configuration that can't be locked is named, with what it changes; equal configurations are
one arm, and one that equals the baseline is the baseline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff import canonical, halving, sweep
from bakeoff.adapters import datasets, embedders, locks, questions, rerankers
from bakeoff.adapters.datasets import Corpus, Document
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.questions import QuestionSet
from bakeoff.config import EmbedderConfig, Lock, PipelineConfig, config_hash, parse
from bakeoff.errors import ConfigError, InputError, ModelError, UsageError
from bakeoff.halving import Schedule
from bakeoff.stages import lock
from bakeoff.sweep import Candidate, Sweep

_THE_BASE = sweep.label({})


@dataclass(frozen=True, slots=True)
class Order:
    """What to sweep: the file's content and name, its base as keys and values, and what stands outside the file.

    *base* None: what is changed is the baseline's own configuration. *baseline* None: the active lock, or where there
    is none the base. *corpus* None: the file's.
    """

    sweep: Sweep
    source: str
    base: Mapping[str, Any] | None
    questions: str
    corpus: str | None = None
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """`drop_losers`: remove the chunk tables that the sweep made for candidates that were dropped in narrowing."""

    workers: int = 1
    drop_losers: bool = False
    cache_dir: Path = Path(".bakeoff/models")
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arm:
    """A configuration in the sweep."""

    config_hash: str
    label: str
    config: PipelineConfig


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was checked before anything is stored; *arms* without the baseline, by CONFIG_HASH, in its order."""

    baseline: Arm
    arms: dict[str, Arm]
    corpus: Corpus
    asked: QuestionSet
    schedule: Schedule


class _Texts:
    """The texts of a corpus that is not ingested yet; a document that comes twice is its first self."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._texts: dict[str, str] | None = None

    def get(self, doc_id: str) -> str | None:
        """Return the text of *doc_id*, or None; the first call reads all texts into memory."""
        if self._texts is None:
            self._texts = dict(self.items())
        return self._texts.get(doc_id)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield (doc_id, text) of every document."""
        seen: set[str] = set()
        for item in self._corpus:
            if isinstance(item, Document) and item.doc_id not in seen:
                seen.add(item.doc_id)
                yield item.doc_id, item.text


def _checked(conn: Connection, order: Order, wanted: Sequence[Candidate], options: Options) -> dict[str, Arm]:
    """Return *wanted* by CONFIG_HASH. Raises ConfigError that names everything that could not be locked."""
    languages, problems = locks.languages(conn), []
    found: dict[str, Arm] = {}
    by_embedder: defaultdict[EmbedderConfig, list[Candidate]] = defaultdict(list)
    for item in wanted:
        by_embedder[item.config.embedder].append(item)
    for group in by_embedder.values():
        try:
            arms, broken = _identified(group, options, languages)
        except (UsageError, ModelError) as error:
            arms, broken = [], [(item.label, str(error)) for item in group]
        archived = [arm for arm in arms if _is_archived(conn, arm.config_hash)]
        broken += [(arm.label, f"its lock {arm.config_hash} is archived") for arm in archived]
        problems += [f"{order.source} [{label}]: {said}" for label, said in broken]
        found |= {arm.config_hash: arm for arm in arms}
    sweep.refuse(sorted(problems), source=order.source)
    return dict(sorted(found.items()))


def _identified(
    group: Sequence[Candidate], options: Options, languages: Sequence[str]
) -> tuple[list[Arm], list[tuple[str, str]]]:
    """Return the candidates of one embedder with their hashes, and (label, problem) of those that can't be locked."""
    arms: list[Arm] = []
    problems: list[tuple[str, str]] = []
    embedder = embedders.open_embedder(group[0].config.embedder, cache_dir=options.cache_dir)
    try:
        for label, config in ((item.label, item.config) for item in group):
            problems += [(label, said) for said in lock.windows(config, embedder)]
            if config.index.language not in languages:
                problems.append((label, f"this server does not have index.language {config.index.language!r}"))
            chosen = config.reranker
            reranker = rerankers.identify_reranker(chosen, cache_dir=options.cache_dir) if chosen else None
            arms.append(Arm(config_hash(config, embedder.identity, reranker), label, config))
    finally:
        embedder.close()
    return arms, problems


def _is_archived(conn: Connection, hashed: str) -> bool:
    known = locks.by_hash(conn, hashed)
    return known is not None and locks.is_archived(conn, known)


def _baseline_lock(conn: Connection, order: Order) -> Lock | None:
    if order.baseline is not None:
        return locks.find(conn, order.baseline)
    active = locks.active(conn)
    return None if active is None else active[0]


def _corpus(order: Order) -> Corpus:
    """Return the corpus. Raises UsageError where none is named."""
    named = order.corpus or order.sweep.corpus
    if named is None:
        raise UsageError(f"{order.source} names no corpus", hint="--corpus CORPUS, or `corpus:` in the file")
    return datasets.open_corpus(named)


def _asked(order: Order, corpus: Corpus) -> QuestionSet:
    asked = questions.load_questions(order.questions, _Texts(corpus))
    if not asked.questions:
        raise InputError(
            f"{asked.name} has no question that {corpus.name} could answer ({len(asked.left_out)} left out)",
            hint="are these the questions of this corpus?",
        )
    return asked


def run(conn: Connection, order: Order, options: Options) -> Prepared:
    """Check *order*; store nothing.

    Raises ConfigError that lists every configuration that can't be locked, InputError where the questions are too few
    or of another corpus, UsageError where no corpus is named, NotFoundError where the baseline is none.
    """
    baseline = _baseline_lock(conn, order)
    base = order.base if order.base is not None or baseline is None else baseline.config.model_dump(mode="json")
    if base is None:
        raise ConfigError(
            f"{order.source} names no base, and no lock is active", hint="`base:` FILE, or --baseline LOCK"
        )
    wanted = sweep.candidates(order.sweep, base, source=order.source)
    own = Candidate(_THE_BASE, parse(base, source=f"{order.source} [{_THE_BASE}]")) if baseline is None else None
    arms = _checked(conn, order, [*wanted, *([own] if own else [])], options)
    first = (
        Arm(baseline.config_hash, baseline.name, baseline.config)
        if baseline
        else next(arm for arm in arms.values() if own and arm.config == own.config)
    )
    arms.pop(first.config_hash, None)
    if not arms:
        raise ConfigError(f"{order.source}: every configuration is the baseline's", hint="change something in it")
    corpus = _corpus(order)
    asked = _asked(order, corpus)
    strata = {item.question_id: canonical.digest([item.answerable, *item.tags]) for item in asked.questions}
    return Prepared(first, arms, corpus, asked, halving.schedule(strata, len(arms), order.sweep))
