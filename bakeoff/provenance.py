"""Claims about where a seal's figures come from: locks, plan, inputs, rows.

Callers may rely on: each function yields what differs, the truest name of it first; values of a wrong kind raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bakeoff import canonical, config, merkle, sealed
from bakeoff.config import Lock
from bakeoff.difference import Difference
from bakeoff.sealed import ARMS, Sealed, differ

_ROUNDED = 1e-6
"""By how much a figure of a plan may be apart from what it was computed as."""


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


def foresight(seal: Sealed) -> Iterator[Difference]:
    """Yield where what the plan can see is not of its gates and steps, or is blind and was not accepted as such.

    How much can be seen is not computed again here (`recompute.sight`); a gate that can't see its margin is blind.
    """
    body, path = seal.predicate["plan"]["body"], ".predicate.plan.body"
    gates = [
        {
            "gate": gate["name"],
            **{name: gate[name] for name in ("metric", "rule", "severity")},
            "margin": gate.get("margin"),
        }
        for gate in body["gates"]["gates"]
    ]
    told = [{name: item[name] for name in ("gate", "metric", "rule", "severity", "margin")} for item in body["sight"]]
    yield from differ(gates, told, f"{path}.sight")
    for number, item in enumerate(body["sight"]):
        margin, shown = item["margin"], item["detectable"]
        if margin is not None and not item["blind"] and (shown is None or shown > margin + _ROUNDED):
            yield Difference(f"{path}.sight[{number}].blind", f"true: it sees {shown}, not {margin}", "false")
    blind = [item["gate"] for item in body["sight"] if item["blind"] and item["severity"] == "block"]
    yield from differ(blind, body["accepted_blind"], f"{path}.accepted_blind")
    for metric, count in body["questions"]["measurable"].items():
        if count > body["questions"]["used"]:
            most = f"{body['questions']['used']} at most, as many as there are"
            yield Difference(f"{path}.questions.measurable.{metric}", most, str(count))
    watch = body["rollout"]["watch"]
    steps = [
        {"step": number, "percent": step["percent"], "watched": name, "margin": watch[name]["margin"]}
        for number, step in enumerate(body["rollout"]["steps"], start=1)
        for name in sorted(watch)
    ]
    seen = [{name: item[name] for name in ("step", "percent", "watched", "margin")} for item in body["steps"]]
    yield from differ(steps, seen, f"{path}.steps")


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
        yield from _made_anew(seal, arm)
        yield from _identity(seal, arm)
    run = seal.predicate["evaluations"]["candidate"]
    made = datetime.fromisoformat(seal.predicate["plan"]["created_at"])
    if datetime.fromisoformat(run["started_at"]) < made and run["run_id"] not in fixed["known_scores"]:
        after = f"after the plan was made, at {made.isoformat()}"
        yield Difference(".predicate.evaluations.candidate.started_at", after, run["started_at"])


def _made_anew(seal: Sealed, arm: str) -> Iterator[Difference]:
    """Yield where a table was made anew with other content, or an ingest comes twice."""
    path, found = f".predicate.ingests.{arm}.again", seal.ingests(arm)
    if "again" in found[0] and not found[0]["again"]:
        yield Difference(path, "an ingest, or nothing at all", "an empty list")
    for number, item in enumerate(found[1:]):
        at = f"{path}[{number}]"
        for name in ("corpus_sha256", "table_sha256"):
            yield from differ(found[0][name], item[name], f"{at}.{name}")
        if item["ingest_id"] in (earlier["ingest_id"] for earlier in found[: number + 1]):
            yield Difference(f"{at}.ingest_id", "each ingest once", item["ingest_id"])


def _identity(seal: Sealed, arm: str) -> Iterator[Difference]:
    """Yield where a run is not of the lock, table, questions and settings that it was recorded of."""
    run = seal.predicate["evaluations"][arm]
    names = ("run_id", "table_sha256", "corpus_sha256", "question_set", "questions_sha256", "settings", "started_at")
    body = {
        **{name: run[name] for name in names},
        "config_hash": seal.predicate["locks"][arm]["body"]["config_hash"],
        "ingest_id": seal.predicate["ingests"][arm]["ingest_id"],
        **{name: run["aggregates"][name] for name in ("report_sha256",) if name in run["aggregates"]},
    }
    digests = (run["identity_sha256"], run["rows_sha256"], run["aggregates"].get("report_sha256"))
    if any(digest is not None for digest in digests):  # or it is a run of a version that kept none of them
        path = f".predicate.evaluations.{arm}.identity_sha256"
        yield from differ(canonical.digest(body), run["identity_sha256"], path)


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
        **{f"records/{item['record_id']}-{item['kind']}.record": item["sha256"] for _, _, item in seal.records()},
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
