"""`keys`, `seal` and `seals` as a person has them, and the seal that a run ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff import canonical, dsse, evidence, merkle
from bakeoff.adapters import keys
from tests import support
from tests.cli.conftest import Project
from tests.cli.test_run import RUN, prepare
from tests.planned import GATES

SECRET = "open sesame"  # noqa: S105  # of a key that lives for a test
GATE_TOO_HIGH = [item | {"at_most": 70} if item["name"] == "longest" else item for item in GATES]


@pytest.fixture
def begun(database_url: str, tmp_path: Path) -> Project:
    """A project of the test's own."""
    return prepare(tmp_path, database_url)


@pytest.fixture(scope="module")
def story(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for the tests that follow each other."""
    folder = tmp_path_factory.mktemp("sealed")
    with support.database(server_url, template, f"seal_{folder.name}_{template}"[:60]) as url:
        yield prepare(folder, url)


def folder(project: Project) -> Path:
    """Where the seals are."""
    return project.folder / "home" / "artifacts" / "seals"


def sealed(project: Project) -> list[str]:
    """The names of the seals' files."""
    return sorted(path.name for path in folder(project).glob("*.seal.json"))


def test_a_run_ends_with_a_seal(story: Project) -> None:
    """Simulated and without a key: the run makes one called `demo`, says what it proves, and seals."""
    done = story.run(*RUN)
    assert 0 == done.returncode, done.stderr
    assert "[16/16] seal\n" in done.stderr
    assert "signed by demo, it was made here by bakeoff itself, and proves nothing about who signed" in done.stderr
    (name,) = sealed(story)
    assert {name, name.replace(".seal.", ".rows."), "HEAD.json"} == {path.name for path in folder(story).iterdir()}
    assert 0o600 == (story.folder / "home" / "keys" / "demo.pem").stat().st_mode & 0o777


def test_the_seal_is_whole(story: Project) -> None:
    """The public key that is exported verifies it; it says how the run ended, by which clock."""
    public = keys.parse_public(story.run("keys", "export", "demo").stdout, where="stdout")
    (name,) = sealed(story)
    envelope = dsse.parse((folder(story) / name).read_bytes())
    assert dsse.signed_by(envelope, public)
    body = evidence.opened(envelope.payload)[1]
    assert ("completed", "simulated", "pass", []) == (body["outcome"], body["clock"], body["verdict"], body["forced"])


def test_again_is_the_same_seal(story: Project) -> None:
    """`run --resume` and `seal` append nothing, and say so."""
    found = story.json("run", "--resume")
    assert found["stages"][-1]["reused"]
    done = story.run("seal")
    assert (0, "sealed before, as seal 1: nothing changed since of plan") == (done.returncode, done.stdout[:55])
    assert "the key `demo`: it was made here by bakeoff itself" in done.stdout
    assert "next: bakeoff verify " in done.stdout
    assert 1 == len(sealed(story))


def test_seals_are_listed_and_shown(story: Project) -> None:
    """A line each; all that one says, with what the change did; the same as JSON."""
    (row,) = story.json("seals", "list")["seals"]
    assert (1, None, "demo", "active", "completed") == tuple(
        row[name] for name in ("number", "previous", "key", "key_status", "outcome")
    )
    assert row["payload_sha256"][:12] in story.run("seals", "list").stdout
    said = story.run("seals", "show", row["payload_sha256"][:8]).stdout
    assert "What the change did" in said
    assert "completed" in said
    found = story.json("seals", "show")
    assert row.items() <= found.items()
    assert "rows.json" in [item["name"] for item in found["subjects"]]
    assert "no seal '7'" in story.error("seals", "show", "7", code=2)["message"]


def test_one_case_is_disclosed(story: Project) -> None:
    """One row with its path: the root that was signed follows from it alone; nothing signed names another question."""
    asked = [json.loads(line) for line in (story.folder / "questions.jsonl").read_text().splitlines()]
    case = asked[3]["id"]
    done = story.run("seals", "show", "1", "--case", case, "--arm", "baseline", "--proof")
    found = json.loads(done.stdout)
    assert ("proof", "baseline", case) == (found["kind"], found["arm"], found["row"]["question_id"])
    payload = dsse.parse(canonical.encode(found["envelope"])).payload
    rows = evidence.opened(payload)[1]["evaluations"]["baseline"]["rows"]
    path = [bytes.fromhex(item) for item in found["path"]]
    root = merkle.root_from(canonical.encode(found["row"]), found["index"], rows["count"], path)
    assert rows["root"] == root.hex()
    told = payload.decode() + json.dumps(found["row"], ensure_ascii=False)
    others = [item for item in asked if item["id"] != case]
    assert [] == [item[name] for item in others for name in ("id", "question") if item[name] in told]
    assert asked[3]["question"] in told
    assert '"worst":[{"baseline":' in told, "a gate names rows, so there was something to leave out"
    assert case == story.json("seals", "show", "1", "--case", case)["row"]["question_id"]
    assert "has no case 'none'" in story.error("seals", "show", "1", "--case", "none", code=2)["message"]
    assert "--proof is of one case" in story.error("seals", "show", "--proof", code=2)["message"]


def test_written_elsewhere_and_again(story: Project) -> None:
    """`--out` writes seal and rows under other names; an export mends what is missing."""
    (name,) = sealed(story)
    story.json("seal", "--out", "evidence/a.seal.json")
    for suffix in ("seal.json", "rows.json"):
        whole = (folder(story) / name.replace("seal.json", suffix)).read_bytes()
        assert whole == (story.folder / "evidence" / f"a.{suffix}").read_bytes()
        (folder(story) / name.replace("seal.json", suffix)).unlink()
    assert 1 == len(story.json("seals", "export")["seals"])
    assert [name] == sealed(story)


def test_a_head_that_is_gone_is_not_made_again_unasked(story: Project) -> None:
    """Neither `seal` nor `seals export` does it; the way out is said."""
    head = folder(story) / "HEAD.json"
    before = head.read_bytes()
    head.unlink()
    for command in (("seal",), ("seals", "export")):
        found = story.error(*command, code=4)
        assert "HEAD.json is not there, and the database has 1 seal" in found["message"]
        assert "bakeoff seals export --new-head" in found["hint"]
    assert "not sealed: " in story.run("run", "--resume").stderr
    done = story.run("seals", "export", "--new-head")
    assert (0, True) == (done.returncode, "1 seal written to: " in done.stdout)
    assert before == head.read_bytes()


def test_the_artifacts_are_those_that_were_sealed(story: Project) -> None:
    """All but the timings lie there; one that is edited is named, whatever it is."""
    (name,) = sealed(story)
    story.run("keys", "export", "demo", "--out", "demo.pub.pem")
    line = ("verify", folder(story) / name, "--public-key", "demo.pub.pem", "--artifacts", folder(story).parent)
    found = story.json(*line)
    said = next(claim for claim in found["claims"] if claim["name"] == "artifacts")
    assert (True, "8 of 9 hold the content that was sealed; not there, so not checked: records/") == (
        said["holds"], said["said"].partition("records/")[0] + "records/",
    )  # fmt: skip
    for kind in ("judgements", "probes", "parity", "evaluations", "plans", "locks"):
        path = max((folder(story).parent / kind).glob("*.json"))
        whole = path.read_text()
        assert '"pass"' in whole or kind in {"evaluations", "plans", "locks"}
        path.write_text(json.dumps({**json.loads(whole), "verdict": "no_data"}))
        failed = story.json(*line, code=1)["failed"]
        assert ("artifacts", True) == (failed["name"], kind.removesuffix("s") in failed["said"])
        path.write_text(whole)
    assert story.json(*line)["verified"]


def test_another_key_takes_over(story: Project) -> None:
    """The one before is retired and stays; what it signed is shown as signed with a retired key."""
    found = story.json("keys", "new", "second")
    assert (["demo"], False) == (found["retired"], found["encrypted"])
    assert ["retired", "active"] == [item["status"] for item in story.json("keys", "list")["keys"]]
    assert "demo (retired)" in story.run("seals", "list").stdout
    (one,) = story.json("seals", "list")["seals"]
    story.run("canary", "rollback", one["rollout_id"], "--reason", "answers got worse")
    found = story.json("seal")
    assert (2, "second", "rolled_back", True) == tuple(found[name] for name in ("number", "key", "outcome", "new"))
    assert "answers got worse" in story.run("seals", "show").stdout
    assert "there is a key 'second' already" in story.error("keys", "new", "second", code=4)["message"]


def test_a_candidate_that_fails_is_sealed(begun: Project) -> None:
    """Stopped at the gate, exit code 1, sealed all the same; a seal a judgement."""
    begun.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": GATE_TOO_HIGH})
    found = begun.json(*RUN, code=1)
    assert ("fail", "seal") == (found["verdict"], found["stages"][-1]["stage"])
    (row,) = begun.json("seals", "list")["seals"]
    assert ("stopped", "fail", None) == (row["outcome"], row["verdict"], row["rollout_id"])
    assert "stopped at the gate, judged: fail" in begun.run("seals", "list", COLUMNS="200").stdout
    assert not begun.json("seal")["new"]
    assert 1 == begun.run("run", "--resume").returncode
    (judged,) = support.rows(str(begun.url), "SELECT count(*) FROM records WHERE kind = 'judgement'")
    assert judged[0] == len(sealed(begun)), "a new judgement is new evidence, and the same one is not"
    body = begun.json("seals", "show")["predicate"]
    assert ("simulated", None) == (body["clock"], body["rollout"])


def test_keys_from_elsewhere(begun: Project) -> None:
    """No key: refused with the command; a PEM by the environment, encrypted or not; others can't read along."""
    assert {"message": "there is no key to sign with", "kind": "state"}.items() <= begun.error("seal", code=4).items()
    begun.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": GATE_TOO_HIGH})
    found = begun.json("keys", "new", "mine")
    path = Path(found["private"])
    path = path if path.is_absolute() else begun.folder / path
    pem = path.read_text()
    begun.run(*RUN)
    for entry in (begun.folder / "home" / "keys").iterdir():
        entry.unlink()
    begun.json("seal", code=4)
    found = _json(begun, "seal", BAKEOFF_SIGNING_KEY=pem)
    assert (False, f"environment-{found['keyid'][:8]}") == (found["new"], found["key"])
    shown = begun.run("config", "show", BAKEOFF_SIGNING_KEY=pem, BAKEOFF_KEY_PASSPHRASE=SECRET)
    assert pem.splitlines()[1] not in shown.stdout + shown.stderr
    assert SECRET not in shown.stdout + shown.stderr


def _json(project: Project, *arguments: str, code: int = 0, **more: str) -> dict[str, Any]:
    done = project.run(*arguments, "--json", **more)
    assert code == done.returncode, done.stdout + done.stderr
    return support.one_object(done.stdout)


def test_a_key_that_others_can_read(begun: Project) -> None:
    """Refused with the command that mends it; with a passphrase, it opens with that alone."""
    assert _json(begun, "keys", "new", "mine", BAKEOFF_KEY_PASSPHRASE=SECRET)["encrypted"]
    path = begun.folder / "home" / "keys" / "mine.pem"
    path.chmod(0o644)
    assert f"chmod 600 {path}" == begun.error("seal", code=4)["hint"]
    path.chmod(0o600)
    assert "mine.pem is encrypted" in begun.error("seal", code=4)["message"]
    done = begun.run("seal", BAKEOFF_KEY_PASSPHRASE=SECRET[::-1])
    assert (4, True) == (done.returncode, "does not open with the passphrase" in done.stderr)
    done = begun.run("seal", BAKEOFF_KEY_PASSPHRASE=SECRET)
    assert (3, True) == (done.returncode, "no plan was judged yet" in done.stderr)
    assert "nothing was sealed yet" in begun.run("seals", "list").stdout
    assert "can't name a key" in begun.error("keys", "new", "../up", code=2)["message"]
    assert "no key 'other'" in begun.error("keys", "export", "other", code=2)["message"]


def test_a_wall_clock_run_without_a_key_goes_on(begun: Project) -> None:
    """It says so in a line with the command, and its exit code stays; no key is made behind anybody's back."""
    begun.write("gates.yaml", {"profile": "small", "resamples": 1000, "gates": GATE_TOO_HIGH})
    done = begun.run(*[item if item != "simulated" else "wall" for item in RUN])
    assert 1 == done.returncode, done.stderr
    why = "there is no key to sign with; bakeoff keys new NAME makes one"
    assert f"skipped: not sealed: {why}" in done.stderr
    early = f"bakeoff: this run can't be sealed at its end: {why}"
    assert done.stderr.index(early) < done.stderr.index("[ 1/")
    assert (False, []) == ((begun.folder / "home" / "keys").exists(), sealed(begun))
