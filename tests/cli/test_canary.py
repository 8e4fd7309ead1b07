"""`canary`, as it is typed: what each command says, its exit code, and that what is refused changes nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bakeoff.adapters import live_outcomes, locks, policies, rollouts
from bakeoff.cli import _rolling
from bakeoff.outcomes import Outcome
from bakeoff.rollout import Abort, Pause, Phase, Reason, Resume, Start
from bakeoff.stages.advance import Happened, Ticked
from tests import support
from tests.moved import in_production
from tests.rolled import Rolled, add_plan, copy_of, parsed, rolled


@dataclass(frozen=True)
class Typed:
    """A judged plan, and a folder in which commands are typed."""

    site: Rolled
    folder: Path
    env: dict[str, str]

    def run(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> tuple[str, str]:
        """What a command prints; its exit code is *code*."""
        done = support.bakeoff("canary", *words, env=self.env | dict(env or {}), cwd=self.folder)
        assert code == done.returncode, done.stdout + done.stderr
        return done.stdout, done.stderr

    def json(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The one object that a command prints."""
        return support.one_object(self.run(*words, "--json", code=code, env=env)[0])


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """Planned, evaluated, judged."""
    with rolled(server_url, template, tmp_path_factory.mktemp("canary")) as found:
        yield found


@pytest.fixture
def typed(server_url: str, base: Rolled, tmp_path: Path) -> Iterator[Typed]:
    """A database and a folder of the test's own."""
    with copy_of(server_url, base) as site:
        env = support.environment(
            site.url, tmp_path / "home", PYTHONPATH=str(Path(support.__file__).parents[1]), BAKEOFF_OPERATOR="ada"
        )
        yield Typed(site, tmp_path, env)


FORCED = ("--force", "--reason", "nobody made probes")


@pytest.fixture
def begun(typed: Typed) -> Typed:
    """A rollout by the wall clock has begun."""
    typed.run("start", *FORCED)
    return typed


@pytest.fixture
def played(typed: Typed) -> Typed:
    """A simulated rollout has begun."""
    typed.run("start", *FORCED, "--clock", "simulated")
    return typed


def error(typed: Typed, *words: str, code: int, plain: bool = False) -> dict[str, Any]:
    """The error of a command that is refused: one line with a hint, and the history is as it was.

    Where *plain*, also the same in words on stderr, and nothing on stdout.
    """
    before = typed.site.made.count_of("rollout_events")
    found: dict[str, Any] = typed.json(*words, code=code)["error"]
    assert "\n" not in found["message"]
    assert found["hint"]
    if plain:
        out, err = typed.run(*words, code=code)
        assert ("", [f"bakeoff: {found['message']}", f"  → {found['hint']}"]) == (out, err.splitlines())
    assert before == typed.site.made.count_of("rollout_events")
    return found


# --- The way of a rollout -------------------------------------------------------------------------------------------


def test_started_watched_and_finished(typed: Typed) -> None:
    """A simulated rollout, from its start to the candidate in production; every artifact says that it is simulated."""
    data = typed.json("start", *FORCED, "--clock", "simulated")
    assert ("running", 20, True, 1, 3) == tuple(data[k] for k in ("phase", "percent", "simulated", "step", "steps"))
    assert "bakeoff canary watch --clock simulated" == data["next"]
    out, err = typed.run("watch", "--clock", "simulated")
    assert "completed: 100 % to the candidate, step 3 of 3 (short, SIMULATED clock)" in out
    assert ["look", "look", "advance"] == [line.split()[2].rstrip(":") for line in err.splitlines()[1:4]]
    data = typed.json("history", "--check")
    assert ("completed", True, True) == (data["events"][-1]["phase"], data["checked"], data["simulated"])
    assert ["ada", *["clock"] * 9] == [row["by"] for row in data["events"]]
    assert "(forced, the judgement is no_data: nobody made probes)" in data["events"][0]["said"]
    assert "there is nothing to watch" in error(typed, "watch", "--clock", "simulated", code=4)["message"]
    assert data["rollout"] in error(typed, "rollback", code=2)["hint"]
    back = typed.json("rollback", data["rollout"], "--reason", "wrong prices")
    assert (True, "rolled_back", {"pass"}) == (back["moved"], back["phase"], {one["verdict"] for one in back["checks"]})
    assert "rolled back by ada: wrong prices" == typed.json("history", "--check")["events"][-1]["said"]


def test_a_harmed_candidate_ends_with_exit_code_1(played: Typed) -> None:
    """What the fault did is told when it is found, and shown by status."""
    out, err = played.run("watch", "--clock", "simulated", "--fault", "errors:+0.3@1", code=1)
    assert "look: rolled back: errors lost" in err
    assert "rolled back: 0 % to the candidate" in out
    look = played.json("status")["last_look"]
    assert ("rollback", "fail") == (look["action"], look["verdict"])
    said = played.run("status")[0]
    assert "errors" in said
    named = played.json("status")["rollout"]
    assert f"next: bakeoff canary history {named} says why; change the candidate, and make a new plan" in said


def test_status_says_where_it_is(begun: Typed) -> None:
    """Phase, step, share, hours left, what holds it, the next look, the notices, what to do next."""
    data = begun.json("status")
    assert ("running", 20, None, 1, "not_due") == (
        data["phase"],
        data["percent"],
        data["last_look"],
        data["step"],
        data["held"]["reason"],
    )
    assert 1.9 < data["hours_left"] <= 2
    assert {
        "webhook": None, "signed": False, "sent": 0, "unsent": 1, "given_up": 0, "too_old": 0, "last_error": None
    } == data["notices"]  # fmt: skip
    assert data == data | begun.json("status", data["rollout"]) | {
        name: data[name] for name in ("now", "hours_left", "held")
    }
    out = begun.run("status")[0]
    for words in ("2 h left in this step", "held: step 1 lasts until", "no webhook set", "next: bakeoff canary watch"):
        assert words in out
    assert "give one of them" == begun.json("status", "--watch", code=2)["error"]["hint"]


def test_tick_and_the_hands_of_people(begun: Typed) -> None:
    """A tick with nothing due says so; what people did is in the history, with who and why."""
    assert "nothing was due; held: step 1 lasts until" in begun.run("tick")[0]
    assert [] == begun.json("tick")["events"]
    assert "paused" == begun.json("pause", "--reason", "lunch")["phase"]
    assert "nothing was due; held: the rollout is paused" in begun.run("tick")[0]
    for command in ("tick", "status"):
        assert {"reason": "paused", "said": "the rollout is paused"} == begun.json(command)["held"]
    assert "bakeoff canary resume --reason TEXT" == begun.json("status")["next"]
    assert "running" == begun.json("resume", "--reason", "back")["phase"]
    assert 50 == begun.json("promote", "--to", "50", "--force", "--reason", "hurry")["percent"]
    assert "aborted" == begun.json("abort", "--reason", "off", env={"BAKEOFF_OPERATOR": "ben"})["phase"]
    rows = [(row["event"], row["by"], row["percent"]) for row in begun.json("history")["events"]]
    assert [
        ("start", "ada", 20),
        ("pause", "ada", 20),
        ("resume", "ada", 20),
        ("promote", "ada", 50),
        ("abort", "ben", 0),
    ] == rows
    events = begun.json("history")["events"]
    written = [datetime.fromisoformat(row["recorded_at"]) for row in events]
    assert sorted(written) == written
    assert all(timedelta() <= at - datetime.fromisoformat(row["at"]) < timedelta(minutes=1)
               for at, row in zip(written, events, strict=True))  # fmt: skip


def test_a_tick_that_rolls_back_says_so(typed: Typed) -> None:
    """Exit code 1 for the turn that found the breach, whoever asks cron; 0 for the next, which finds it done."""
    with typed.site.connect() as conn:
        began = rollouts.server_time(conn) - timedelta(minutes=90)
        typed.site.start(clock="wall", now=began)
        times = [began + timedelta(seconds=6 * number) for number in range(600)]
        names = [(arm, number, f"{arm}.{number}") for number in range(600) for arm in (0, 1)]
        arrived = [(1, Outcome(times[at], arm, name, arm == 0, None, None, name)) for arm, at, name in names]
        live_outcomes.add(conn, typed.site.found().rollout_id, arrived)
    found = typed.json("tick", code=1)
    last = found["events"][-1]
    assert ("rolled_back", "look", "breach") == (found["phase"], last["event"], last["reason"])
    assert "nothing was due; held: nothing" in typed.run("tick")[0]


def test_a_watch_that_is_interrupted_leaves_all_as_it_is(begun: Typed) -> None:
    """Ctrl-C: exit code 130, nothing moved, and the same command goes on."""
    with support.running("canary", "watch", env=begun.env, cwd=begun.folder) as process:
        assert process.stderr is not None
        assert "watching r" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert 130 == process.returncode, err
    assert "Traceback" not in err
    assert ["start"] == [row["event"] for row in begun.json("history", "--check")["events"]]


def test_a_rollback_ends_a_watch_elsewhere(begun: Typed) -> None:
    """It hears of it at once, and ends with exit code 1."""
    with support.running("canary", "watch", "--json", env=begun.env, cwd=begun.folder) as process:
        assert process.stderr is not None
        assert "watching r" in process.stderr.readline()
        begun.run("rollback", "--reason", "wrong")
        out, err = process.communicate(timeout=60)
    assert (1, "rolled_back") == (process.returncode, support.one_object(out)["phase"])
    assert "rolled back by ada: wrong" in err


def test_the_kill_switch_holds_it(typed: Typed) -> None:
    """Whoever starts under it is told so; status and tick name it, who threw it and why, and no step begins."""
    with typed.site.connect() as conn:
        policies.say(conn, "killed", by="ben", reason="wrong prices")
    said = "the kill switch is on, by ben: wrong prices"
    assert f"note: {said}: nobody gets the candidate" in typed.run("start", *FORCED)[1]
    data = typed.json("tick")
    assert {"reason": "killed", "said": said} == data["held"]
    assert ([], "find out why; bakeoff route unkill --reason TEXT") == (data["events"], data["next"])
    out, _ = typed.run("status")
    assert f"held: {said}" in out


def test_a_turn_that_looked_says_what_holds_the_rollout(typed: Typed) -> None:
    """The kill switch is named under the look; that the step's hours go on is not."""
    with typed.site.connect() as conn:
        now = rollouts.server_time(conn)
        typed.site.start(clock="wall", now=now - timedelta(minutes=90))
        first = typed.run("tick")[0].splitlines()
        policies.say(conn, "killed", by="ben", reason="wrong prices")
        typed.site.act(Abort("ben", "again"), rollouts.server_time(conn))
        typed.site.start(clock="wall", now=now - timedelta(minutes=90))
    second = typed.run("tick")[0].splitlines()
    assert ["look:", "the"] == [line.split()[0] for line in first]
    assert ["look:", "held:", "the"] == [line.split()[0] for line in second]
    assert "held: the kill switch is on, by ben: wrong prices" == second[1]


@pytest.mark.parametrize(("later", "code"), [(0, 1), (1, 0)])
def test_exit_code_1_is_for_the_turn_that_rolled_back(typed: Typed, later: int, code: int) -> None:
    """Not for one that looked, and found that somebody else had rolled back since."""
    found = replace(typed.site.start(clock="wall"), version=2 + later)
    ended = replace(found, state=replace(found.state, phase=Phase.ROLLED_BACK))
    looked = Happened(2, found.started_at, "look", Reason.BREACH, "lost")
    assert code == _rolling.turn_code(Ticked(ended, (looked,), None, None))
    assert 0 == _rolling.turn_code(Ticked(ended, (), None, None))
    assert 0 == _rolling.turn_code(Ticked(found, (looked,), None, None))


def test_a_receiver_that_nobody_hears_from_holds_nothing_up(begun: Typed) -> None:
    """The rollback is done and checked; that nobody could be told is a note, and status counts it."""
    hook = {"BAKEOFF_WEBHOOK_URL": "http://127.0.0.1:9/secret"}
    out, err = begun.run("rollback", env=hook)
    assert "narrow answers everything" in out
    assert "note: webhook http://127.0.0.1:9/***" in err
    assert "secret" not in out + err
    told = begun.json("status", env=hook)["notices"]
    assert ("http://127.0.0.1:9/***", 0, 2) == (told["webhook"], told["sent"], told["unsent"])
    assert "2 unsent; the last error: webhook http://127.0.0.1:9/***" in begun.run("status", env=hook)[0]


def test_a_rollback_takes_back_what_answers(begun: Typed) -> None:
    """A rehearsal after a completed rollout is not in its way; by its id it says that it changed nothing."""
    real = begun.json("promote", "--to", "100", "--force", "--reason", "hurry")["rollout"]
    begun.run("promote", "--force", "--reason", "hurry")
    made = begun.site.made
    with begun.site.connect() as conn:
        now = rollouts.server_time(conn)
        locks.add_event(conn, made.narrow, "restored", at=now, reason="again")
        back = add_plan(made, parsed(), sides=(made.wide, made.narrow))
        rehearsal = rollouts.start(conn, back, Start("ada"), clock="simulated", at=now + timedelta(hours=1)).rollout_id
    assert rehearsal == begun.json("status")["rollout"]
    out, _ = begun.run("rollback", rehearsal)
    assert f"{rehearsal}, a rehearsal, rolled back: nothing in production changed\n  pass  routing: it was a re" in out
    assert f"next: wide ({made.wide.config_hash}) is in production; bakeoff canary rollback {real} --reason" in out
    assert "nothing is left of it\nnext: wide (" in begun.run("rollback", rehearsal)[0]
    done = begun.json("rollback")
    assert (real, True, {"pass"}) == (done["rollout"], done["moved"], {one["verdict"] for one in done["checks"]})
    with begun.site.connect() as conn:
        assert made.narrow.config_hash == in_production(conn)
    assert f"bakeoff canary history {real} says why; change the candidate, and make a new plan" == done["next"]
    turn = begun.json("tick")
    assert (real, "rolled_back", []) == (turn["rollout"], turn["phase"], turn["events"])
    over = error(begun, "watch", code=4)
    assert f"{real} is rolled back: there is nothing to watch" == over["message"]
    assert f"bakeoff canary history {real}" == over["hint"]


# --- What is refused ------------------------------------------------------------------------------------------------


def test_bad_beginnings(typed: Typed) -> None:
    """No rollout, no such plan, a judgement that is not enough, force without a reason."""
    assert "there is no rollout yet" == error(typed, "status", code=2)["message"]
    assert "there is no rollout yet" == error(typed, "rollback", code=2, plain=True)["message"]
    assert "no plan 'abcd'" == error(typed, "start", "--plan", "abcd", code=2)["message"]
    assert error(typed, "start", code=4, plain=True)["message"].endswith("was judged: no_data")
    assert "--force without a reason" == error(typed, "start", "--force", code=2)["message"]


def test_bad_moves(begun: Typed) -> None:
    """Twice, too early, over a step, on the wrong clock, an unknown rollout, a fault where traffic is real."""
    said = {
        ("start", *FORCED): "is on its way: one rollout at a time",
        ("promote",): "step 1 lasts until",
        ("promote", "--to", "70"): "no step ahead has 70 %: there are 50, 100",
        ("promote", "--to", "100"): "100 % is step 3, the next one is 2",
        ("approve",): "no step ahead waits for an approval",
        ("resume",): "the rollout is not paused",
        ("watch", "--clock", "simulated"): "goes by the wall clock, not the simulated one",
    }
    for words, expected in said.items():
        assert expected in error(begun, *words, code=4)["message"]
    unused = {
        ("promote", "--force"): "--force without a reason",
        ("status", "r20200101-1"): "no rollout 'r20200101-1'",
        ("approve", "nope"): "no rollout 'nope'",
        ("watch", "--fault", "errors:+0.3"): "--fault harms simulated traffic alone",
        ("abort",): "Missing option '--reason'.",
    }
    for words, expected in unused.items():
        assert expected == error(begun, *words, code=2)["message"]


def test_moves_after_a_rollback(begun: Typed) -> None:
    """Nothing moves any more; a second rollback is done already."""
    begun.run("rollback", "--reason", "wrong")
    for words in (("promote",), ("pause",), ("abort", "--reason", "x")):
        assert error(begun, *words, code=4)["message"].endswith("the rollout is rolled back")
    assert "is rolled back already: nothing is left of it" in begun.run("rollback")[0]


def test_a_clock_that_went_back_is_said(begun: Typed) -> None:
    """By a tick and by status, before anything else that holds it; so is a step far beyond its hours."""
    with begun.site.connect() as conn:
        ahead = rollouts.server_time(conn) + timedelta(hours=1)
    begun.site.act(Pause("ben", "lunch"), ahead)
    begun.site.act(Resume("ben", "back"), ahead)
    assert "held: it is " in begun.run("tick")[0]
    for command in ("tick", "status"):
        held = begun.json(command)["held"]
        assert ("clock_went_back", True) == (held["reason"], held["said"].endswith("the clock went back"))
    begun.run("rollback", "--reason", "off")
    with begun.site.connect() as conn:
        now = rollouts.server_time(conn)
    begun.site.start(clock="wall", now=now - timedelta(hours=30))
    begun.run("tick")
    assert begun.json("status")["overdue_hours"] >= 28
    assert "h beyond the step's hours: roll back, or force it on" in begun.run("status")[0]


def test_a_simulated_rollout_is_not_ticked(played: Typed) -> None:
    """Its time is its own; what is no fault is refused."""
    assert "bakeoff canary watch --clock simulated" == error(played, "tick", code=4)["hint"]
    assert "goes by the simulated clock" in error(played, "watch", code=4)["message"]
    bad = ("watch", "--clock", "simulated", "--fault", "speed:0.3")
    assert "fault 'speed:0.3': expected quality, errors or latency" in error(played, *bad, code=2)["message"]


def test_an_edited_history_is_found(begun: Typed) -> None:
    """The version that does not follow is named."""
    begun.run("promote", "--force", "--reason", "hurry")
    begun.site.made.tamper(
        "rollout_events", "UPDATE bakeoff.rollout_events SET at = at - interval '1 hour' WHERE version = 2"
    )
    assert (
        "version 2 (promote) does not follow from its history" in error(begun, "history", "--check", code=4)["message"]
    )
