"""`route`: which arm and why, in words and as JSON; the switches; bad input in one line."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bakeoff import routing
from bakeoff.adapters.rollouts import Rollout
from tests import moved, support
from tests.cli.conftest import Project
from tests.moved import BEGAN, after

WHY = ("--reason", "test")


@pytest.fixture(scope="module")
def began(project: Project) -> Rollout:
    """The module's project, with a rollout at 10 %, written when it says that it began."""
    assert project.url is not None
    locked = moved.sides(project.url)
    with support.connector(project.url)() as conn:
        moved.recorded_as_told(conn)
        return moved.started(conn, moved.planned(conn, locked))


@pytest.fixture
def quiet(project: Project, began: Rollout) -> Iterator[Project]:
    """The project; whatever the test switched is taken back."""
    assert "running" == began.phase
    yield project
    project.run("route", "unkill", *WHY)
    project.run("route", "shadow", "on")


def user(began: Rollout, *, inside: bool) -> str:
    """A user whose bucket lies inside the first 10 %, or outside."""
    return next(
        name for name in (f"user-{n}" for n in range(999)) if (routing.bucket(began.salt, name) < 1000) == inside
    )


def test_decide_says_arm_and_why(quiet: Project, began: Rollout) -> None:
    """One sentence has the arm, bucket, where the id came from, percentage, rollout and version; JSON has each."""
    who = user(began, inside=True)
    bucket = routing.bucket(began.salt, who)
    data = quiet.json("route", "decide", "--client-id", who)
    assert {
        "arm": "candidate",
        "reason": "bucket",
        "config_hash": began.candidate,
        "bucket": bucket,
        "seed": "client_id",
        "percent": 10.0,
        "rollout": began.rollout_id,
        "version": 1,
        "shadow": False,
        "header_ignored": False,
        "because": data["because"],
        "at": None,
    } == data
    done = quiet.run("route", "decide", "--client-id", who)
    assert (
        f"candidate: bucket {bucket:,} of 10,000, made of the client id, lies inside the candidate's share "
        f"({began.rollout_id}, version 1, 10 % to the candidate)\n"
    ) == done.stdout
    assert "no_unit" == quiet.json("route", "decide")["reason"]
    assert "request_id" == quiet.json("route", "decide", "--request-id", "q1", "--client-id", " ")["seed"]


@pytest.mark.parametrize("given", ["X-Bakeoff-Rag=1", "x-bakeoff-rag: 1"])
def test_header(quiet: Project, began: Rollout, given: str) -> None:
    """The header is taken as a request has it, and wins over the bucket."""
    who = user(began, inside=False)
    data = quiet.json("route", "decide", "--client-id", who, "--header", given)
    assert ("candidate", "header") == (data["arm"], data["reason"])


def test_environment(quiet: Project, began: Rollout) -> None:
    """BAKEOFF_RAG is the kill switch of a process, or its header; the settings name it."""
    who = user(began, inside=True)
    for value, arm in (("0", "baseline"), ("1", "candidate")):
        done = quiet.run("route", "decide", "--client-id", who, "--json", BAKEOFF_RAG=value)
        data = support.one_object(done.stdout)
        assert (arm, "environment") == (data["arm"], data["reason"])
    done = quiet.run("route", "show", BAKEOFF_RAG="yes")
    assert 2 == done.returncode
    assert "rag: Input should be" in done.stderr


def test_switches(quiet: Project, began: Rollout) -> None:
    """Kill, force, shadow: each says what it did, what holds already, and `show` has them with who and why."""
    who = user(began, inside=False)
    assert quiet.json("route", "force", who, "--arm", "candidate", *WHY)["changed"]
    assert "flag" == quiet.json("route", "decide", "--client-id", who)["reason"]
    assert quiet.json("route", "kill", "--reason", "wrong  answers\n")["policy"]["killed"]
    again = quiet.run("route", "kill", *WHY, BAKEOFF_OPERATOR="ada")
    assert "killed: it was so already\n" in again.stdout
    assert "killed" == quiet.json("route", "decide", "--client-id", who, "--header", "X-Bakeoff-Rag=1")["reason"]
    assert not quiet.json("route", "shadow", "off")["policy"]["shadow"]
    shown = quiet.json("route", "show")
    assert [("killed", None, None), ("forced", who, "candidate"), ("shadow_off", None, None)] == [
        (word["event"], word["unit"], word["arm"]) for word in shown["said"]
    ]
    assert "wrong answers" == shown["said"][0]["reason"]
    text = quiet.run("route", "show").stdout
    assert f"on its way, 10 % to the candidate {began.candidate}, KILLED, no shadow, 1 forced\n" in text
    assert f"  forced {who} to candidate: " in text
    done = quiet.run("route", "unkill", *WHY)
    assert "note: the step's hours went on: what is due begins, or completes, with the next turn" in done.stderr
    assert "note" not in quiet.run("route", "unkill", *WHY).stderr
    assert quiet.json("route", "unforce", who)["changed"]
    assert "bucket" == quiet.json("route", "decide", "--client-id", who)["reason"]


def test_replay(quiet: Project, began: Rollout) -> None:
    """With --at the history decides, whatever holds now, and UTC where no zone is named."""
    quiet.run("route", "kill", *WHY)
    who = user(began, inside=True)
    for at in (after(1).isoformat(), f"{after(1):%Y-%m-%dT%H:%M:%S}", "2026-01-05T10:00:00+01:00"):
        data = quiet.json("route", "decide", "--client-id", who, "--at", at)
        assert ("candidate", "bucket", after(1).isoformat()) == (data["arm"], data["reason"], data["at"])
    assert "killed" == quiet.json("route", "decide", "--client-id", who)["reason"]


FUTURE = (datetime(2999, 1, 1, tzinfo=UTC)).isoformat()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("decide", "--at", "noon"), "--at 'noon' is no time"),
        (("decide", "--at", (BEGAN - timedelta(days=1)).isoformat()), "is before the first rollout, which began at"),
        (("decide", "--at", FUTURE), f"{FUTURE} is in the future"),
        (("decide", "--at", FUTURE, "--rollout", "latest"), f"not at {FUTURE}"),
        (("decide", "--rollout", "latest"), "--rollout without --at"),
        (("decide", "--header", "X-Other=1"), "--header 'X-Other=1': the one that counts is X-Bakeoff-Rag"),
        (("decide", "--header", "X-Bakeoff-Rag=yes"), "expected 1 or 0, a router ignores anything else"),
        (("decide", "--header", "1"), "the one that counts is X-Bakeoff-Rag"),
        (("force", " ", "--arm", "candidate", *WHY), "the unit is blank"),
        (("force", "u1", "--arm", "both", *WHY), "'both' is not one of 'baseline', 'candidate'"),
        (("unforce", "nobody"), "'nobody' is not forced to an arm"),
        (("kill", "--reason", " "), "--reason is blank"),
        (("kill",), "Missing option '--reason'"),
        (("shadow", "dim"), "'dim' is not one of 'on', 'off'"),
        (("watch", "--seconds", "-1"), "Invalid value for '--seconds'"),
    ],
    ids=lambda given: " ".join(given).replace(FUTURE, "FUTURE") if isinstance(given, tuple) else "",
)
def test_bad_input(project: Project, began: Rollout, arguments: tuple[str, ...], problem: str) -> None:
    """One clear line, exit code 2."""
    assert "running" == began.phase
    found = project.error("route", *arguments, code=2)
    assert problem in found["message"]


def test_without_a_rollout(fresh: Project) -> None:
    """Production answers, and says so; there is no instant to ask for."""
    done = fresh.run("route", "decide", "--client-id", "u1")
    assert "baseline: there is no rollout, production answers\n" == done.stdout
    assert "there is no rollout yet" == fresh.error("route", "decide", "--at", FUTURE, code=2, plain=True)["message"]
    assert "no rollout: what is in production answers\n" == fresh.run("route", "show").stdout
    assert {"policy": None, "said": []} == fresh.json("route", "show")


def test_watch_ends(quiet: Project) -> None:
    """It ends after its seconds with one object, and on Ctrl-C as well, both with exit code 0."""
    (change,) = quiet.json("route", "watch", "--seconds", "0.1")["changes"]
    assert "on its way" == change["policy"]["phase"]
    with support.running("route", "watch", env=quiet.env, cwd=quiet.folder) as process:
        assert process.stdout is not None
        assert "on its way" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "" == process.communicate(timeout=60)[0]
    assert 0 == process.returncode
