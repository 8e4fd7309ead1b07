"""`bakeoff observe` as a person types it: everything stored once, or nothing and one line that says why."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff.adapters import rollouts
from bakeoff.rollout import Abort, Start
from tests import moved, support
from tests.cli.conftest import Project, make
from tests.moved import after


@pytest.fixture(scope="module")
def rolling(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a rollout on its way."""
    folder = tmp_path_factory.mktemp("rolling")
    with support.database(server_url, template, f"rolling_{template}"[:60]) as url:
        project = make(folder, url)
        with support.connector(url)() as conn:
            moved.started(conn, moved.planned(conn, moved.sides(url)))
        yield project


def written(project: Project, count: int, **keys: Any) -> str:
    """A file of outcomes, one a minute from the rollout's beginning."""
    lines = [{"at": after(index / 60).isoformat(), "arm": "baseline", "ok": True} | keys for index in range(count)]
    project.write("outcomes.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return "outcomes.jsonl"


def test_a_file_is_stored_once(rolling: Project) -> None:
    """What was stored, what was there already, what to do next; as JSON the same figures."""
    done = rolling.run("observe", written(rolling, 40))
    assert (0, "") == (done.returncode, done.stderr)
    assert ["r20260105-1: 40 outcomes stored", "next: bakeoff canary status"] == done.stdout.splitlines()
    again = rolling.run("observe", "outcomes.jsonl", "--rollout", "r20260105-1")
    assert "r20260105-1: 0 outcomes stored, 40 were there already" == again.stdout.splitlines()[0]
    data = rolling.json("observe", written(rolling, 45))
    assert {"rollout": "r20260105-1", "stored": 5, "known": 40, "late": 0} == data


def test_standard_input_is_read(rolling: Project) -> None:
    """Without a file, or as -; outcomes without a time are of now."""
    for arguments, ok in ((("observe",), "false"), (("observe", "-"), "true")):  # alike in one second they are one
        done = subprocess.run(
            support.command(*arguments),
            input=f'{{"arm": "candidate", "ok": {ok}}}\n',
            env=rolling.env,
            cwd=rolling.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith("r20260105-1: 1 outcomes stored\n")


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "arm": ({"arm": "treatment"}, 'outcomes.jsonl:1: arm is "treatment", expected "baseline" or "candidate"'),
    "future": ({"at": "2999-01-01T00:00:00Z"}, 'outcomes.jsonl:1: at is "2999-01-01T00:00:00Z", in the future'),
    "early": ({"at": "2020-01-01T00:00:00Z"}, "expected at least 2026-01-05T08:00:00Z, when the rollout began"),
    "negative": ({"latency_ms": -1}, "outcomes.jsonl:1: latency_ms is -1, expected a number from 0"),
    "unknown": ({"colour": "red"}, 'outcomes.jsonl:1: unknown key "colour"'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_named(rolling: Project, case: str) -> None:
    """Exit code 2, the line and what was expected; nothing of the file is stored."""
    keys, said = BROKEN[case]
    before = support.rows(str(rolling.url), "SELECT count(*) FROM outcomes")
    found = rolling.error("observe", written(rolling, 3, **keys), code=2, plain=True)
    assert said in found["message"]
    assert before == support.rows(str(rolling.url), "SELECT count(*) FROM outcomes")


def test_a_line_in_the_middle_of_many(rolling: Project) -> None:
    """NaN at line 20,001 of 40,000: that line, and nothing is stored."""
    before = support.rows(str(rolling.url), "SELECT count(*) FROM outcomes")
    good = '{"arm": "baseline", "ok": true, "unit": "middle"}\n'
    rolling.write("many.jsonl", good * 20_000 + good.replace("}", ', "quality": NaN}') + good * 19_999)
    found = rolling.error("observe", "many.jsonl", code=2)
    assert "many.jsonl:20001: NaN is no number, expected one JSON object on the line" == found["message"]
    assert before == support.rows(str(rolling.url), "SELECT count(*) FROM outcomes")


def test_what_is_not_there_is_said(rolling: Project, fresh: Project) -> None:
    """A file, a rollout, any rollout at all."""
    assert "nothing.jsonl is not there" == rolling.error("observe", "nothing.jsonl", code=2, plain=True)["message"]
    file = written(rolling, 1)
    assert "no rollout 'r1'" == rolling.error("observe", file, "--rollout", "r1", code=2, plain=True)["message"]
    assert "there is no rollout yet" == fresh.error("observe", written(fresh, 1), code=2, plain=True)["message"]


def test_real_outcomes_are_no_part_of_a_rehearsal(fresh: Project) -> None:
    """The rollout with real traffic gets them, though it has ended and a rehearsal is open; that one does by its id."""
    sides = moved.sides(str(fresh.url))
    with support.connector(str(fresh.url))() as conn:
        stored = moved.planned(conn, sides)
        real = moved.send(conn, moved.started(conn, stored), Abort("ada", "off"), after(10)).rollout_id
        rehearsal = rollouts.start(conn, stored, Start("ada"), clock="simulated", at=after(0)).rollout_id
    assert {"rollout": real, "stored": 3, "known": 0, "late": 0} == fresh.json("observe", written(fresh, 3))
    assert rehearsal == fresh.json("observe", "outcomes.jsonl", "--rollout", rehearsal)["rollout"]


def test_a_rehearsal_alone_gets_no_real_outcomes(fresh: Project) -> None:
    """It is refused, and says which id would mean it."""
    with support.connector(str(fresh.url))() as conn:
        stored = moved.planned(conn, moved.sides(str(fresh.url)))
        rehearsal = rollouts.start(conn, stored, Start("ada"), clock="simulated", at=after(0)).rollout_id
    found = fresh.error("observe", written(fresh, 1), code=2, plain=True)
    assert "there is no rollout with real traffic" == found["message"]
    assert f"{rehearsal} is a rehearsal, which its id alone means" == found["hint"]


def test_a_folder_is_no_file(rolling: Project) -> None:
    """It is said to be one."""
    assert ". is a folder" == rolling.error("observe", ".", code=2, plain=True)["message"]


def test_a_byte_order_mark_is_no_part_of_a_line(rolling: Project) -> None:
    """At the beginning of a file, as some editors leave it."""
    file = written(rolling, 1, unit="marked")
    path = rolling.folder / file
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert 1 == rolling.json("observe", file)["stored"]


def test_days_are_pruned(rolling: Project, fresh: Project) -> None:
    """Those of the rollout on its way stay, which is said; with nothing stored nothing is dropped."""
    rollout = rolling.json("observe", written(rolling, 5))["rollout"]
    done = rolling.run("outcomes", "prune", "--before", "2026-01-07")
    assert (0, "0 days dropped; 1 day stays") == (done.returncode, done.stdout.partition("\n")[0])
    line = next(line for line in done.stdout.splitlines() if rollout in line)
    assert [rollout, "1", "2026-01-05", "2026-01-05", "on its way"] == re.split(r"\s{2,}", line.strip(" │|"))
    wanted = {"rollout": rollout, "why": "on its way", "days": ["2026-01-05"]}
    kept = {"dropped": [], "kept": ["2026-01-05"], "kept_by": [wanted], "lost": []}
    assert kept == rolling.json("outcomes", "prune", "--before", "2026-01-07", "--unsealed")
    nothing: dict[str, list[str]] = {"dropped": [], "kept": [], "kept_by": [], "lost": []}
    assert nothing == fresh.json("outcomes", "prune", "--before", "2026-01-07")


def test_days_that_no_seal_has(fresh: Project) -> None:
    """They stay, and what seals them is said; `--unsealed` drops them, and says whose they were."""
    sides = moved.sides(str(fresh.url))
    with support.connector(str(fresh.url))() as conn:
        found = moved.started(conn, moved.planned(conn, sides))
    assert found.rollout_id == fresh.json("observe", written(fresh, 5), "--rollout", found.rollout_id)["rollout"]
    with support.connector(str(fresh.url))() as conn:
        moved.send(conn, found, Abort("ada", "off"), after(10))
    done = fresh.run("outcomes", "prune", "--before", "2026-01-07")
    assert "0 days dropped; 1 day stays\n" in done.stdout
    assert "not sealed as it stands" in done.stdout
    assert f"next: bakeoff seal --plan {found.rollout_id}, then prune again\n" in done.stdout
    done = fresh.run("outcomes", "prune", "--before", "2026-01-07", "--unsealed")
    told = f"{found.rollout_id}, not sealed as it stands: 1 day of its outcomes is in no seal now\n"
    assert (0, f"1 day dropped\n{told}") == (done.returncode, done.stdout)
