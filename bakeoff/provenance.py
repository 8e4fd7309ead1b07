"""Claims about where a seal's figures come from: locks, plan, inputs, records, rows.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bakeoff import canonical, config, merkle, sealed
from bakeoff.config import Lock
from bakeoff.difference import Difference
from bakeoff.sealed import ARMS, CASE_KEYS, MANY, ONE_OF_EACH, Sealed, differ

_KINDS = {"rechecks": "recheck", "rollback_checks": "rollback_check"}


def locks(seal: Sealed) -> Iterator[Difference]:
    """Yield where a lock is not what its hash says."""
    for arm in ARMS:
        path = f".predicate.locks.{arm}"
        given = seal.predicate["locks"][arm]
        body = given["body"]
        yield from differ(canonical.digest(body), given["sha256"], f"{path}.sha256")
        lock = Lock.model_validate_json(canonical.encode(body))
        again = config.config_hash(lock.config, lock.embedder, lock.reranker)
        yield from differ(again, lock.config_hash, f"{path}.body.config_hash")
        models = seal.predicate["environment"]["models"][arm]
        yield from differ(body["embedder"], models, f".predicate.environment.models.{arm}")


def plan(seal: Sealed) -> Iterator[Difference]:
    """Yield where the plan is not the one that its digest names, or is about other locks."""
    given = seal.predicate["plan"]
    yield from differ(canonical.digest(given["body"]), given["sha256"], ".predicate.plan.sha256")
    for arm in ARMS:
        body = seal.predicate["locks"][arm]["body"]
        wanted = {"name": body["name"], "CHUNK_VERSION": body["chunk_version"], "CONFIG_HASH": body["config_hash"]}
        yield from differ(wanted, given["body"][arm], f".predicate.plan.body.{arm}")
    accepted = {"blind": given["body"]["accepted_blind"], "known_scores": given["body"]["known_scores"]}
    yield from differ(accepted, seal.predicate["accepted"], ".predicate.accepted")


def inputs(seal: Sealed) -> Iterator[Difference]:
    """Yield where an ingest or an evaluation is of other inputs than the plan's, or than each other's."""
    fixed = seal.predicate["plan"]["body"]
    for arm in ARMS:
        ingest, run = seal.predicate["ingests"][arm], seal.predicate["evaluations"][arm]
        at = f".predicate.evaluations.{arm}"
        yield from differ(fixed["corpus_sha256"], ingest["corpus_sha256"], f".predicate.ingests.{arm}.corpus_sha256")
        yield from differ(fixed["corpus_sha256"], run["corpus_sha256"], f"{at}.corpus_sha256")
        yield from differ(ingest["table_sha256"], run["table_sha256"], f"{at}.table_sha256")
        yield from differ(fixed["questions"]["sha256"], run["questions_sha256"], f"{at}.questions_sha256")
        yield from differ(fixed["questions"]["used"], run["rows"]["count"], f"{at}.rows.count")
        yield from differ(fixed["gold_share"], run["settings"]["gold_share"], f"{at}.settings.gold_share")
        yield from _identity(seal, arm)
    run = seal.predicate["evaluations"]["candidate"]
    made = datetime.fromisoformat(seal.predicate["plan"]["created_at"])
    if datetime.fromisoformat(run["started_at"]) < made and run["run_id"] not in fixed["known_scores"]:
        after = f"after the plan was made, at {made.isoformat()}"
        yield Difference(".predicate.evaluations.candidate.started_at", after, run["started_at"])


def _identity(seal: Sealed, arm: str) -> Iterator[Difference]:
    """Yield where a run is not of the lock, table, questions and settings that it was recorded of."""
    run = seal.predicate["evaluations"][arm]
    names = ("run_id", "table_sha256", "corpus_sha256", "question_set", "questions_sha256", "settings", "started_at")
    body = {
        **{name: run[name] for name in names},
        "config_hash": seal.predicate["locks"][arm]["body"]["config_hash"],
        "ingest_id": seal.predicate["ingests"][arm]["ingest_id"],
    }
    if run["identity_sha256"] is not None:  # a run of a version that kept none
        path = f".predicate.evaluations.{arm}.identity_sha256"
        yield from differ(canonical.digest(body), run["identity_sha256"], path)


def _all(seal: Sealed) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (kind, path, record) of every record."""
    given = seal.predicate["records"]
    for kind in ONE_OF_EACH:
        if given[kind] is not None:
            yield kind, f".predicate.records.{kind}", given[kind]
    for name in MANY:
        for number, record in enumerate(given[name]):
            yield _KINDS[name], f".predicate.records.{name}[{number}]", record


def records(seal: Sealed) -> Iterator[Difference]:
    """Yield where a record is not what its digest says."""
    for kind, path, record in _all(seal):
        body = {name: record[name] for name in ("kind", "plan_sha256", "config_hash", "run_id", "verdict", "body")}
        at = datetime.fromisoformat(record["at"]).astimezone(UTC).isoformat()
        yield from differ(canonical.digest(body | {"at": at}), record["sha256"], f"{path}.sha256")
        yield from differ(kind, record["kind"], f"{path}.kind")


def rests_on(seal: Sealed) -> Iterator[Difference]:
    """Yield where a record is about another plan, run or table, or rests on another record, than was sealed."""
    fixed, runs = seal.predicate["plan"], seal.predicate["evaluations"]
    for kind, path, record in _all(seal):
        if kind in ("probes", "parity"):
            yield from differ(runs["candidate"]["run_id"], record["run_id"], f"{path}.run_id")
        else:
            yield from differ(fixed["sha256"], record["plan_sha256"], f"{path}.plan_sha256")
        if kind != "rollback_check":
            hashed = fixed["body"]["candidate"]["CONFIG_HASH"]
            yield from differ(hashed, record["config_hash"], f"{path}.config_hash")
    yield from _judged(seal)
    yield from _named(seal)
    yield from _timed(seal)


def _judged(seal: Sealed) -> Iterator[Difference]:
    """Yield where the judgement is of other things than the plan fixes and the runs have."""
    fixed, path = seal.predicate["plan"], ".predicate.records.judgement.body"
    body, plan_ = seal.record("judgement")["body"], fixed["body"]
    wanted = {
        "plan_sha256": fixed["sha256"],
        "gates_sha256": canonical.digest(plan_["gates"]),
        "profile": plan_["gates"]["profile"],
        "label": plan_["gates"]["label"],
        "alpha": plan_["gates"]["alpha"],
        "seed": plan_["seed"],
        "questions": {"name": plan_["questions"]["name"], "sha256": plan_["questions"]["sha256"]},
        "corpus_sha256": plan_["corpus_sha256"],
        "accepted_blind": plan_["accepted_blind"],
        "known_scores": plan_["known_scores"],
        **{arm: _side(seal, arm) for arm in ARMS},
    }
    for name, value in wanted.items():
        yield from differ(value, body[name], f"{path}.{name}")


def _side(seal: Sealed, arm: str) -> dict[str, Any]:
    lock, run = seal.predicate["locks"][arm]["body"], seal.predicate["evaluations"][arm]
    names = ("run_id", "table_sha256", "cases_sha256")
    hashed = {"CHUNK_VERSION": lock["chunk_version"], "CONFIG_HASH": lock["config_hash"]}
    return {"lock": lock["name"], **hashed, **{name: run[name] for name in names}}


def _named(seal: Sealed) -> Iterator[Difference]:
    """Yield where the judgement names another record than the one that was sealed, or is not what was begun on."""
    given = seal.predicate["records"]
    body = seal.record("judgement")["body"]
    for kind in ("timings", "probes", "parity"):
        if body.get(kind) is not None:
            yield from differ(_reference(given[kind]), body[kind], f".predicate.records.judgement.body.{kind}")
    for number, again in enumerate(given["rechecks"]):
        if "began_on" in again["body"]:
            path = f".predicate.records.rechecks[{number}].body.began_on"
            yield from differ(_reference(given["judgement"]), again["body"]["began_on"], path)


def _reference(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {"record": record["record_id"], "sha256": record["sha256"]}


def _timed(seal: Sealed) -> Iterator[Difference]:
    """Yield where the timings that were judged are of other tables or questions."""
    if seal.record("judgement")["body"]["timings"] is None:
        return
    body, path = seal.record("timings")["body"], ".predicate.records.timings.body"
    tables = {
        seal.predicate["locks"][arm]["body"]["config_hash"]: seal.predicate["evaluations"][arm]["table_sha256"]
        for arm in ARMS
    }
    yield from differ(tables, body["tables"], f"{path}.tables")
    questions = seal.predicate["plan"]["body"]["questions"]["sha256"]
    yield from differ(questions, body["questions_sha256"], f"{path}.questions_sha256")


ROWS_FILE = "rows.json"
"""What the statement calls the file of its rows."""


def subjects(seal: Sealed) -> Iterator[Difference]:
    """Yield where the subjects are not the things whose digests the predicate holds."""
    given = seal.predicate
    wanted = {
        f"plans/{given['plan']['sha256'][:12]}.plan": given["plan"]["sha256"],
        **{f"locks/{given['locks'][arm]['body']['chunk_version']}.lock": given["locks"][arm]["sha256"] for arm in ARMS},
        **{
            f"evaluations/{given['evaluations'][arm]['run_id']}.cases": given["evaluations"][arm]["cases_sha256"]
            for arm in ARMS
        },
        **{f"records/{item['record_id']}-{item['kind']}.record": item["sha256"] for _, _, item in _all(seal)},
    }
    named = {item.name: item.sha256 for item in seal.subjects}
    yield from differ([*wanted, ROWS_FILE], sorted(named, key=[*wanted, ROWS_FILE, *named].index), ".subject")
    yield from differ(wanted, {name: named[name] for name in wanted}, ".subject")


# --- From the rows --------------------------------------------------------------------------------------------------


def root(written: Sequence[Any]) -> str:
    """Return the Merkle root (RFC 6962, hex) of rows as they stand in their file."""
    return merkle.root(canonical.encode_each(written)).hex()


def rows(seal: Sealed) -> Iterator[Difference]:
    """Yield where the rows are not those whose counts and roots were sealed, or are not of the same questions."""
    written = seal.written or {}
    trees = {arm: (written[arm], seal.predicate["evaluations"][arm]["rows"], f"evaluations.{arm}") for arm in ARMS}
    if seal.predicate["rollout"] is not None:
        live = seal.predicate["rollout"]["outcomes"]["rows"]
        trees["outcomes"] = (written["outcomes"], live, "rollout.outcomes")
    else:
        yield from differ([], written["outcomes"], "rows:.outcomes")
    for found, tree, path in trees.values():
        yield from differ(tree["count"], len(found), f".predicate.{path}.rows.count")
        yield from differ(root(found), tree["root"], f".predicate.{path}.rows.root")
    yield from _same_questions(seal)


def _same_questions(seal: Sealed) -> Iterator[Difference]:
    """Yield where both arms were not asked the very same questions, once each."""
    asked: dict[str, str] = {}
    for number, row in enumerate(seal.cases("baseline")):
        if row["question_id"] in asked:
            yield Difference(f"rows:.baseline[{number}].question_id", "a question once", row["question_id"])
        asked[row["question_id"]] = row["question"]
    seen: set[str] = set()
    for number, row in enumerate(seal.cases("candidate")):
        path = f"rows:.candidate[{number}]"
        if row["question_id"] not in asked or row["question_id"] in seen:
            yield Difference(f"{path}.question_id", "each question of the baseline once", row["question_id"])
        seen.add(row["question_id"])
        yield from differ(asked.get(row["question_id"]), row["question"], f"{path}.question")


def aggregates(seal: Sealed) -> Iterator[Difference]:
    """Yield where an aggregate is not that of the rows; a fact that the rows tell, too."""
    facts = (seal.rows or {})["facts"]
    for arm in ARMS:
        cases, given = seal.cases(arm), seal.predicate["evaluations"][arm]["aggregates"]["aggregates"]
        path = f".predicate.evaluations.{arm}.aggregates.aggregates"
        names = tuple(given["means"])
        for number, row in enumerate(cases):
            yield from sealed.unlike(dict.fromkeys((*CASE_KEYS, *names)), row, f"rows:.{arm}[{number}]")
        yield from differ(sealed.means(cases, names), given["means"], f"{path}.means", close=True)
        sizes = [row["snapshot_size"] for row in cases]
        errors = sum(row["error"] is not None for row in cases)
        yield from differ(len(cases), given["questions"], f"{path}.questions")
        yield from differ(errors, given["errors"], f"{path}.errors")
        spread = {"least": min(sizes, default=None), "most": max(sizes, default=None)}
        yield from differ(spread, given["snapshot_size"], f"{path}.snapshot_size")
        wanted = {
            "snapshot_size": sum(sizes) / len(sizes) if sizes else None,
            "reader_errors": errors if sizes else None,
        }
        told = {name: facts[arm].get(name) for name in wanted}
        yield from differ(wanted, told, f"rows:.facts.{arm}", close=True)


def row(proof: Mapping[str, Any], predicate: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where *proof* (`sealed.PROOF`) does not tie its row to the tree of its arm."""
    yield from sealed.unlike(sealed.PROOF, proof, "")
    yield from differ("proof", proof["kind"], ".kind")
    if proof["arm"] not in ARMS:
        yield Difference(".arm", " or ".join(ARMS), str(proof["arm"]))
    tree = predicate["evaluations"][proof["arm"]]["rows"]
    siblings = [bytes.fromhex(text) for text in proof["path"]]
    found = merkle.root_from(canonical.encode(proof["row"]), proof["index"], tree["count"], siblings)
    yield from differ(tree["root"], found.hex(), ".row")
