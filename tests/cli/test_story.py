"""From nothing to a verified seal in one process: an honest candidate, and one that is really worse.

Each in a folder of its own with a server of its own; nothing is forced, nothing accepted blind.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff import dsse, evidence
from bakeoff.adapters import embedded
from tests import support
from tests.cli.conftest import Project
from tests.cli.test_run import RUN, prepare
from tests.command_reference import ROOT

WORSE = support.parts(
    chunking={"size": 80},
    retrieval={"dense_candidates": 2, "lexical_candidates": 2, "snapshot": 1, "filter": {"context": 1}},
)
"""It retrieves one chunk, and reads it."""


@pytest.fixture
def nothing() -> Iterator[Project]:
    """A folder with files in it, and no server yet."""
    folder = Path(tempfile.mkdtemp(prefix="bakeoff-story-"))
    folder.chmod(0o755)  # as root the server runs as a user of its own
    try:
        yield prepare(folder, None)
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


def ran(project: Project, *, code: int) -> dict[str, Any]:
    """The whole of it in one process, which says what a run says."""
    done = support.bakeoff(*RUN, "--json", env=project.env, cwd=project.folder, timeout=240)
    assert code == done.returncode, done.stdout + done.stderr
    return support.one_object(done.stdout)


def verified(project: Project) -> dict[str, Any]:
    """What its only seal says, once every claim of it and of the chain was checked without the database."""
    embedded.stop(project.folder / "home")
    folder = project.folder / "home" / "artifacts"
    (path,) = (folder / "seals").glob("*.seal.json")
    url = {"BAKEOFF_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = project.run(
        "verify", path, "--recompute", "--chain", folder / "seals", "--artifacts", folder, "--json", **url
    )
    found = support.one_object(done.stdout)
    assert (0, True, None) == (done.returncode, found["verified"], found["failed"])
    assert {True} == {claim["holds"] for claim in found["claims"]}
    (signed,) = (item for item in found["claims"] if item["name"] == "signature")
    assert signed["said"].startswith("by demo (")
    _, said = evidence.opened(dsse.parse(path.read_bytes()).payload)
    return said


def tampered(project: Project) -> None:
    """What the demo ends with: the seal verifies, two changed copies of it do not, and the script goes on."""
    shim = project.folder / "bin" / "bakeoff"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/bash\nexec {shlex.join(support.command())} "$@"\n')
    shim.chmod(0o755)
    env = project.env | {"PATH": f"{shim.parent}:{project.env['PATH']}"}
    line = [
        "bash",
        str(ROOT / "configs" / "demo" / "tampering.sh"),
        str(project.folder / "home" / "artifacts" / "seals"),
    ]
    done = subprocess.run(line, env=env, cwd=project.folder, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    said = done.stdout.splitlines()
    assert 2 == said.count("(exit code 1)")
    assert ["signature", "rows"] == [line.split()[2] for line in said if line.startswith("not verified: ")]
    assert "proves nothing about who signed" in done.stdout


def test_from_nothing_to_a_verified_seal(nothing: Project) -> None:
    """The honest candidate passes and is rehearsed; the seal says so, and that production was not touched."""
    found = ran(nothing, code=0)
    assert ("pass", "simulated") == (found["verdict"], found["clock"])
    said = verified(nothing)
    assert ("completed", "pass", "simulated") == (said["outcome"], said["verdict"], said["clock"])
    assert "simulated" == said["rollout"]["clock"]
    assert [] == said["forced"]
    assert {"blind": [], "known_scores": []} == said["accepted"]
    assert {"baseline", "candidate"} == {item["arm"] for item in said["rollout"]["outcomes"]["by_step"]}
    tampered(nothing)


def test_a_worse_candidate_is_stopped_and_sealed(nothing: Project) -> None:
    """It ends at the gate with exit code 1: no rollout, the findings that stopped it sealed, and the seal verifies."""
    nothing.write("b.yaml", json.loads(json.dumps(WORSE)))
    found = ran(nothing, code=1)
    assert "fail" == found["verdict"]
    said = verified(nothing)
    assert ("stopped", "fail", "simulated", None) == (
        said["outcome"], said["verdict"], said["clock"], said["rollout"]
    )  # fmt: skip
    assert ([], {"blind": [], "known_scores": []}) == (said["forced"], said["accepted"])
    findings = said["records"]["judgement"]["body"]["findings"]
    assert "filter" in {item["gate"] for item in findings if item["verdict"] == "fail"}
