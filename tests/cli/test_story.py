"""From nothing to a verified seal in one process: the demo's candidate, and one that is really worse.

Corpus, questions, gates, rollout and options are the demo's own; each story has a folder and a server of its own, and
embeds everything anew. Nothing is forced, nothing accepted blind.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff import dsse, evidence
from bakeoff.adapters import embedded, standard
from tests import support
from tests.cli.conftest import Project
from tests.command_reference import ROOT

DEMO = Path("configs", "demo")
ACCEPTED_NOTHING: dict[str, list[str]] = {"blind": [], "known_scores": []}
WORSE = {"retrieval": {"filter": {"context": 2}}}
"""The baseline's chunks, of which the reader gets a quarter: what it does not read it can't answer from."""


@pytest.fixture
def nothing() -> Iterator[Project]:
    """A folder with the configurations and questions that the project comes with, and no server yet."""
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-story-"))
    folder.chmod(0o755)  # as root the server runs as a user of its own
    try:
        shutil.copytree(ROOT / "configs", folder / "configs")
        env = support.environment(None, folder / "home", PYTHONPATH=str(ROOT), BAKEOFF_WORKERS="2")
        yield Project(folder, None, env)
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


def line_of_demo() -> list[str]:
    """The arguments of `bakeoff run` as `make demo` has them."""
    script = (ROOT / DEMO / "run.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^say bakeoff (run .*)$", script, re.MULTILINE)
    return shlex.split(line)


def ran(project: Project, *, code: int) -> dict[str, Any]:
    """The whole of it in one process, which says what a run says."""
    done = support.bakeoff(*line_of_demo(), "--json", env=project.env, cwd=project.folder, timeout=600)
    assert code == done.returncode, done.stdout + done.stderr
    found = support.one_object(done.stdout)
    assert [] == [item["stage"] for item in found["stages"] if item["reused"]]
    return found


def verified(project: Project) -> dict[str, Any]:
    """What its only seal says, once every claim of it and of the chain was checked without the database."""
    embedded.stop(project.folder / "home")
    folder = project.folder / "home" / "artifacts"
    (path,) = (folder / "seals").glob("*.seal.json")
    key = project.folder / "demo.pub.pem"
    url = {"BAKEOFF_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert 0 == project.run("keys", "export", "demo", "--out", key, **url).returncode
    again = ("--public-key", key, "--recompute", "--chain", folder / "seals", "--artifacts", folder)
    done = project.run("verify", path, *again, "--json", **url)
    found = support.one_object(done.stdout)
    assert (0, True, None) == (done.returncode, found["verified"], found["failed"])
    assert [] == [claim["name"] for claim in found["claims"] if claim["holds"] is not True]
    assert {"findings again", "looks again", "routing again"} <= {claim["name"] for claim in found["claims"]}
    _, said = evidence.opened(dsse.parse(path.read_bytes()).payload)
    return said


def of_the_demo(said: dict[str, Any]) -> None:
    """The seal names the demo's corpus, questions, gates and rollout; nothing was forced or accepted unseen."""
    plan = said["plan"]["body"]
    assert {"python"} == {ingest["corpus"] for ingest in said["ingests"].values()}
    assert 299 == plan["questions"]["used"]
    assert standard.profile(ROOT / DEMO / "gates.yaml").model_dump(mode="json") == plan["gates"]
    assert standard.rollout(ROOT / DEMO / "rollout.yaml").model_dump(mode="json") == plan["rollout"]
    assert ([], ACCEPTED_NOTHING) == (said["forced"], said["accepted"])


def tampered(project: Project) -> None:
    """What the demo ends with: the seal verifies, two changed copies of it do not, and the script goes on."""
    shim = project.folder / "bin" / "bakeoff"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/bash\nexec {shlex.join(support.command())} "$@"\n')
    shim.chmod(0o755)
    env = project.env | {"PATH": f"{shim.parent}:{project.env['PATH']}"}
    line = ["bash", str(DEMO / "tampering.sh"), str(project.folder / "home" / "artifacts" / "seals")]
    done = subprocess.run(line, env=env, cwd=project.folder, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    said = done.stdout.splitlines()
    assert 2 == said.count("(exit code 1)")
    assert ["signature", "rows"] == [line.split()[2] for line in said if line.startswith("not verified: ")]
    assert "proves nothing about who signed" in done.stdout


def test_from_nothing_to_a_verified_seal(nothing: Project) -> None:
    """The demo's candidate passes and is rehearsed; the seal says so, and that production was not touched."""
    found = ran(nothing, code=0)
    assert ("pass", "simulated") == (found["verdict"], found["clock"])
    said = verified(nothing)
    assert ("completed", "pass", "simulated") == (said["outcome"], said["verdict"], said["clock"])
    assert "simulated" == said["rollout"]["clock"]
    assert {"baseline", "candidate"} == {item["arm"] for item in said["rollout"]["outcomes"]["by_step"]}
    of_the_demo(said)
    tampered(nothing)


def test_a_worse_candidate_is_stopped_and_sealed(nothing: Project) -> None:
    """It ends at the gate with exit code 1: no rollout, the findings that stopped it sealed, and the seal verifies."""
    nothing.write("configs/candidate.yaml", WORSE)
    found = ran(nothing, code=1)
    assert "fail" == found["verdict"]
    said = verified(nothing)
    assert ("stopped", "fail", "simulated", None) == (
        said["outcome"], said["verdict"], said["clock"], said["rollout"]
    )  # fmt: skip
    of_the_demo(said)
    findings = said["records"]["judgement"]["body"]["findings"]
    blocking = {item["gate"] for item in findings if item["verdict"] == "fail" and item["severity"] == "block"}
    assert {"filter-no-loss"} == blocking
