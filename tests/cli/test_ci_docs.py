"""The CI workflow that is shipped: valid, made of real commands, safe under `set -e`, and run once for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from junitparser import JUnitXml

from bakeoff.adapters import yaml_files
from bakeoff.cli.main import app
from tests.cli.conftest import Project
from tests.command_reference import ROOT, commands, mentions, problem
from tests.support import command

WORKFLOW = ROOT / "configs" / "ci" / "github-bakeoff.yml"
RUNBOOK = ROOT / "runbooks" / "ci.md"
KNOWN = {"BASELINE": "0" * 16, "CANDIDATE": "f" * 16, "PLAN": "1" * 64}


def workflow() -> dict[Any, Any]:
    """The parsed file; `on` is true in YAML 1.1."""
    found: dict[Any, Any] = yaml_files.read(WORKFLOW, what="workflow")
    return found


def steps() -> list[dict[str, Any]]:
    """The steps of the job that runs commands."""
    found: list[dict[str, Any]] = workflow()["jobs"]["bakeoff"]["steps"]
    return found


def step(name: str) -> str:
    """The script of one step."""
    (found,) = [item["run"] for item in steps() if item.get("name", "").startswith(name)]
    return str(found)


def scripts() -> list[str]:
    """Every script of the workflow, and every fenced block of the runbook."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    return [item["run"] for item in steps() if "run" in item] + [text for kind, text in blocks if not kind]


def calls(script: str) -> list[list[str]]:
    """The words of each `bakeoff ...` in a script, variables filled in as the workflow sets them."""
    found = [mention.words for mention in mentions(f"```\n{script}\n```", page="script")]
    values = KNOWN | {name: str(value) for name, value in workflow()["env"].items()}
    return [[re.sub(r"\$(\w+)", lambda match: values[match[1]], word) for word in words] for words in found]


EVERY = [words for script in scripts() for words in calls(script)]


def test_the_workflow_is_valid() -> None:
    """It parses, every step does something, every job runs somewhere, and it asks for no more than to read."""
    found = workflow()
    assert {"contents": "read"} == found["permissions"]
    assert {"pull_request", "workflow_dispatch"} == found[True].keys()
    for job in found["jobs"].values():
        assert "ubuntu-latest" == job["runs-on"]
        assert all(("run" in item) != ("uses" in item) for item in job["steps"])
    assert "bash" == found["defaults"]["run"]["shell"]
    order = ["Lock", "Ingest", "Plan", "Evaluate", "Probes", "Parity", "Judge", "Keep"]
    assert order == [item["name"].split()[0].rstrip(",") for item in steps() if "name" in item][1:]
    for path in ("BASELINE_CONFIG", "CANDIDATE_CONFIG", "QUESTIONS", "GATES", "ROLLOUT"):
        assert (ROOT / found["env"][path]).is_file()


def test_the_runbook_shows_the_file_as_it_is() -> None:
    """What is read in the runbook is what is copied from the file."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    assert WORKFLOW.read_text() == shown


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words)[:60])
def test_every_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command line takes each command with its options and their values."""
    monkeypatch.chdir(ROOT)
    (mention,) = mentions(f"```\nbakeoff {shlex.join(words)}\n```", page="script")
    assert None is problem(mention, commands())
    node: Any = typer.main.get_command(app)
    rest = list(words)
    context = node.make_context("bakeoff", list(words))
    while hasattr(node, "commands"):
        name, node, rest = node.resolve_command(context, rest)
        context = node.make_context(name, list(rest), parent=context)
    assert [] == context.args


def test_all_the_commands_were_found() -> None:
    """The test above sees the commands of the workflow and of the runbook."""
    names = {words[0] for words in EVERY}
    wanted = {"lock-config", "shadow-ingest", "plan", "evaluate", "timings", "probes", "parity", "kpi-check", "explain"}
    assert wanted <= names
    assert 3 <= sum(words[0] == "kpi-check" and "github" not in words for words in EVERY)


def bash(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as GitHub's runner does under `shell: bash`."""
    for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY"):
        environment[name] = str(folder / name.lower())
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


STAND_IN = """#!/bin/bash
for word in "$@"; do [ "$previous" = --out ] && echo '<xml/>' > "$word"; previous=$word; done
case "$*" in *markdown*) echo '## summary';; *github*) echo '::notice title=x::y';; esac
exit {code}
"""


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "pass"), (1, "fail"), (3, "not-known"), (4, "error"), (5, "error"), (70, "error")]
)
@pytest.mark.parametrize("writes", [True, False], ids=["writes", "dies"])
def test_the_judging_step_keeps_every_exit_code(tmp_path: Path, code: int, verdict: str, *, writes: bool) -> None:
    """Under `set -e` too: the step ends with the judge's own code, after the verdict and what there is to show."""
    program = tmp_path / "bin" / "bakeoff"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(code=code) if writes else f"#!/bin/bash\nexit {code}\n")
    program.chmod(0o755)
    done = bash(step("Judge"), tmp_path, PATH=f"{program.parent}:{os.environ['PATH']}", PLAN="1" * 64)
    assert code == done.returncode, done.stderr
    assert f"verdict={verdict}\n" == (tmp_path / "github_output").read_text()
    assert writes == (tmp_path / "github_step_summary").exists()
    assert writes == ("::notice" in done.stdout)


def test_a_judge_that_changes_its_mind_fails_the_step(tmp_path: Path) -> None:
    """Pass in JUnit, then fail in the annotations: the step is red, not green."""
    program = tmp_path / "bakeoff"
    program.write_text('#!/bin/bash\necho x > kpi-check.xml\ncase "$*" in *github*) exit 1;; esac\n')
    program.chmod(0o755)
    done = bash(step("Judge"), tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", PLAN="1" * 64)
    assert 1 == done.returncode


def test_only_a_pass_promotes() -> None:
    """The job behind it starts on that verdict alone, and evidence is kept whatever came out."""
    found = workflow()["jobs"]
    assert "needs.bakeoff.outputs.verdict == 'pass'" == found["promote"]["if"]
    assert "bakeoff" == found["promote"]["needs"]
    (keep,) = [item for item in steps() if "upload-artifact" in item.get("uses", "")]
    assert "${{ !cancelled() }}" == keep["if"]
    assert {"artifacts/", "kpi-check.xml"} == set(keep["with"]["path"].split())


def test_the_workflow_runs(fresh: Project) -> None:
    """All steps but the installation, on a small corpus: the verdict, the JUnit file and the exit code are one."""
    folder = fresh.folder
    program = folder / "bin" / "bakeoff"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec {shlex.join(command())} "$@"\n')
    program.chmod(0o755)
    gates = {
        "profile": "tiny",
        "gates": [{"name": "f1", "rule": "no_worse", "metric": "f1", "margin": 0.9, "spread": 0.3, "minimum": 2}],
    }
    env = fresh.env | {name: str(ROOT / path) for name, path in workflow()["env"].items()}
    env |= {"BASELINE_CONFIG": "a.yaml", "CANDIDATE_CONFIG": "b.yaml", "CORPUS": "corpus.jsonl"}
    env |= {"QUESTIONS": "questions.jsonl", "GATES": str(fresh.write("gates.yaml", gates))}
    env |= {"PATH": f"{program.parent}:{env['PATH']}", "PYTHONWARNINGS": "ignore"}
    for item in steps():
        if "run" not in item or item["name"] == "Install":
            continue
        done = bash(item["run"], folder, **env)
        if not item.get("continue-on-error") and item["name"] != "Judge":
            assert 0 == done.returncode, (item["name"], done.stdout, done.stderr)
        lines = (folder / "github_env").read_text().splitlines()
        env |= dict(line.split("=", 1) for line in lines)
    verdict = (folder / "github_output").read_text().strip().removeprefix("verdict=")
    again = bash('bakeoff kpi-check --plan "$PLAN" --promote-check', folder, **env)
    assert {"pass": 0, "fail": 1, "not-known": 3}[verdict] == again.returncode
    (suite,) = JUnitXml.fromstring((folder / "kpi-check.xml").read_bytes())
    assert (verdict == "pass") == (suite.failures + suite.errors == 0)
    assert ["f1", "probes", "parity"] == [case.name for case in suite]
    assert (folder / "github_step_summary").read_text().startswith("## bakeoff kpi-check: ")
    (parity,) = (folder / "home" / "artifacts" / "parity").glob("*.json")
    assert "pass" == json.loads(parity.read_text())["verdict"]
