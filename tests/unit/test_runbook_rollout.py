"""The runbook of a plan's rollout: its hours are real, what was done is ticked, what was not says so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bakeoff import canary, runbook, strategy
from bakeoff.plan import Arm, Asked, Plan, StepSight
from bakeoff.rollout import Action, Advance, Approve, Event, Look, Pause, Promote, Resume, Rollback, Start, State
from bakeoff.runbook import Course, Made, Moved
from bakeoff.verdicts import Verdict
from tests import judged

START = datetime(2026, 1, 2, 4, tzinfo=UTC)
WATCH = {"errors": {"margin": 0.01, "base_rate": 0.99}, "latency_p95": {"margin": 0.2}}
STEPS = [
    {"percent": 10, "hours": 16},
    {"percent": 50, "hours": 16, "approval": True},
    {"percent": 100, "hours": 16},
]


def fixed() -> Plan:
    """Three steps of 16 hours; the second one asks for an approval, the last one compares nothing."""
    seen = [
        StepSight(
            step=step,
            percent=percent,
            watched=watched,
            baseline_outcomes=0 if percent == 100.0 else 2880,
            candidate_outcomes=320,
            margin=0.01,
            detectable=found,
        )
        for step, percent, watched, found in (
            (1, 10.0, "errors", 0.043), (1, 10.0, "latency_p95", None), (2, 50.0, "errors", None),
            (3, 100.0, "errors", None),
        )
    ]  # fmt: skip
    return Plan(
        baseline=Arm(name="old", CHUNK_VERSION="v1", CONFIG_HASH="a" * 16),
        candidate=Arm(name="new", CHUNK_VERSION="v2", CONFIG_HASH="b" * 16),
        questions=Asked(name="asked", sha256="c" * 64, used=40, measurable={"f1": 40}),
        corpus_sha256="d" * 64,
        gold_share=0.5,
        gates=judged.profile(judged.GATES["loss of a mean"]),
        rollout=strategy.parse({"strategy": "48h", "watch": WATCH, "steps": STEPS}, source="test"),
        seed=7,
        timed=40,
        traffic_per_hour=200.0,
        sight=(),
        steps=tuple(seen),
    )


def look(action: Action = Action.GO, said: str = "all green") -> Look:
    """One look."""
    return Look(action, Verdict.PASS if action is Action.GO else Verdict.FAIL, 100, said, rechecked=True)


def course(*events: tuple[float, Event], made: dict[str, Made] | None = None, clock: str = "wall") -> Course:
    """The course that *events*, at hours from the start, really make."""
    state: State | None = None
    moves = []
    for hour, event in events:
        at = START + timedelta(hours=hour)
        outcome = canary.step(fixed().rollout, state, event, at)
        assert outcome.accepted, outcome.said
        state = outcome.state
        by = getattr(event, "by", "")
        moves.append(Moved(at, event.kind, state.step, state.phase.value, by, outcome.said))
    return Course(made or {}, "r20260102-1", clock, moves)


def page(found: Course) -> dict[str, list[str]]:
    """The lines of each section, empty ones left out."""
    sections: dict[str, list[str]] = {}
    title = ""
    for line in runbook.of_plan(fixed(), found).splitlines():
        title = line.removeprefix("## ") if line.startswith("## ") else title
        if line and not line.startswith("## "):
            sections.setdefault(title, []).append(line)
    return sections


def ticked(lines: Iterable[str]) -> list[str]:
    """The lines that are done."""
    return [line for line in lines if line.startswith("- [x]")]


TO_THE_END: tuple[tuple[float, Event], ...] = (
    (0, Start("ann", "a better embedder")),
    (1, look()),
    (16, look()),
    (16, Approve("bob")),
    (16, Advance()),
    (32, look()),
    (32, Advance()),
    (48, look()),
    (48, Advance()),
)


def test_before_it_begins_nothing_is_ticked() -> None:
    """Every command has this plan's names; hours count from a start that is not known yet."""
    found = page(Course())
    assert [] == ticked(line for lines in found.values() for line in lines)
    whole = "\n".join(line for lines in found.values() for line in lines)
    short, old, new = fixed().short, "a" * 16, "b" * 16
    for command in (
        f"`bakeoff shadow-ingest --lock {old} CORPUS`",
        f"`bakeoff evaluate --lock {new} --questions QUESTIONS`",
        f"`bakeoff probes --lock {new} --baseline {old}`",
        f"`bakeoff kpi-check --plan {short} --promote-check`",
        f"`bakeoff canary start --plan {short} --reason WHY`",
        "`bakeoff canary approve --reason WHY`",
        "`SELECT bakeoff.roll_back('ROLLOUT', 'WHY', 'WHO')`",
    ):
        assert command in whole
    titles = [line for line in found["During"] if line.startswith("### ")]
    assert "### Hour 0: 10 % to the candidate for 16 hours" == titles[0]
    assert "### Hour 32: 100 % to the candidate for 16 hours" == titles[2]
    assert "| Watched | errors (margin 1 point), latency_p95 (margin 20 %) |" in found[""]
    assert ["Nothing yet."] == found["What happened"]


def test_each_step_says_what_it_can_see() -> None:
    """In the plan table's own words: by its size, not foretold, nothing; without traffic nothing is compared."""
    lines = page(Course())["During"]
    assert "- What this step can see of a loss: 4.3 points of errors; of latency_p95: depends on its spread" in lines
    assert "- What this step can see of a loss: of errors: nothing" in lines
    assert "- Nothing is compared within this step: the baseline gets no traffic" in lines


def test_what_was_done_before_is_ticked_with_its_time() -> None:
    """By the name of the thing, with what it rests on."""
    made = {"judgement": Made(START - timedelta(hours=2), "record 9")}
    (line,) = ticked(page(Course(made))["Before"])
    command = f"`bakeoff kpi-check --plan {fixed().short} --promote-check`"
    assert f"- [x] The verdict is PASS, 2026-01-02 02:00 UTC (record 9): {command}" == line


def test_a_completed_rollout_is_ticked_to_the_end() -> None:
    """Each step with the hour it really began, who approved it, and the end; the archive by its own event."""
    made = {"archived": Made(START + timedelta(hours=48), "r20260102-1 completed")}
    found = page(course(*TO_THE_END, made=made))
    done = ticked(found["During"])
    assert "- [x] It began at 2026-01-02 04:00 UTC by ann: step 1 of 3: 10 % to the candidate" == done[0]
    assert "- [x] 2 looks, the last at 2026-01-02 20:00 UTC: all green" == done[1]
    assert "- [x] It was approved, 2026-01-02 20:00 UTC (step 2 (50 %) approved by bob): " in done[3]
    assert "- [x] It ended at 2026-01-04 04:00 UTC: completed: the last step is over" == done[-1]
    assert 2 == len(ticked(found["After"]))
    assert ["- [x] Started, 2026-01-02 04:00 UTC (r20260102-1 by ann): "] == [
        line.split("`")[0] for line in ticked(found["Start"])
    ]
    assert "### Hour 32, 2026-01-03 12:00 UTC: 100 % to the candidate for 16 hours" in found["During"]


def test_a_running_one_shows_what_is_ahead() -> None:
    """The second step is not ticked, and has its real hour."""
    found = page(course(*TO_THE_END[:2]))
    assert "### Hour 16, 2026-01-02 20:00 UTC: 50 % to the candidate for 16 hours" in found["During"]
    assert "- [ ] It began" in found["During"]
    assert "| Rollout id | `r20260102-1`, under way |" in found[""]
    assert [] == ticked(found["After"])


def test_a_late_step_moves_its_hour() -> None:
    """A pause of ten hours: the step began when it really did."""
    found = page(
        course(
            (0, Start("ann")), (1, Pause("ann", "lunch")), (11, Resume("ann")), (26, look()), (26, Approve("bob")),
            (26, Advance()),
        )
    )  # fmt: skip
    assert "### Hour 16, 2026-01-03 06:00 UTC: 50 % to the candidate for 16 hours" in found["During"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (look(Action.ROLL_BACK, "errors: 12 % against 1 %"), "errors: 12 % against 1 %"),
        (Rollback("eve", "support is on fire"), "by eve: rolled back by eve: support is on fire"),
    ],
    ids=["breach", "by hand"],
)
def test_a_rolled_back_one_says_what_was_not_reached(event: Event, said: str) -> None:
    """What ended it, when and by whom; the steps behind it were not reached; the candidate's fate is open."""
    found = page(course((0, Start("ann")), (3, event)))
    assert 2 == found["During"].count("Not reached: rolled back at 2026-01-02 07:00 UTC.")
    (line,) = ticked(found["After"])
    assert line.startswith("- [x] Rolled back at 2026-01-02 07:00 UTC")
    assert line.endswith(said)
    assert f"- [ ] What was lost is known: `bakeoff explain {'a' * 16} {'b' * 16}`" in found["After"]


def test_a_completed_one_that_was_rolled_back_keeps_its_steps() -> None:
    """The last step ended when it completed, not when somebody went back a day later."""
    found = page(course(*TO_THE_END, (72, Rollback("eve", "prices are wrong"))))
    assert "- [x] It ended at 2026-01-04 04:00 UTC: completed: the last step is over" in found["During"]
    (line,) = ticked(found["After"])
    assert line.startswith("- [x] Rolled back at 2026-01-05 04:00 UTC by eve")


def test_a_forced_jump_ticks_the_step_it_skipped() -> None:
    """From 10 to 100 % by hand: the steps on the way have the event that went past them."""
    found = page(course((0, Start("ann")), (1, Promote("ann", to=100.0, force=True, why="holidays"))))
    began = [line for line in found["During"] if line.startswith("- [x] It began")]
    assert 3 == len(began)
    assert began[1] == began[2]


def test_a_simulated_one_says_so_at_its_top() -> None:
    """Nobody takes it for what happened to users."""
    assert (
        "**Simulated clock: a rehearsal. No hour of this passed, no user saw it, nothing in production changed.**"
        in page(course(*TO_THE_END, clock="simulated"))[""]
    )
    done, ahead = page(course(*TO_THE_END, clock="simulated"))["After"]
    assert done.startswith("- [x] Rehearsed to the end; nothing in production changed, 2026-01-04 04:00 UTC")
    assert f"- [ ] The real rollout is begun: `bakeoff canary start --plan {fixed().short} --reason WHY`" == ahead
    assert "| Clock | simulated |" in page(course(*TO_THE_END, clock="simulated"))[""]


def test_the_history_is_a_table_without_every_look() -> None:
    """What moved it, with its hour; of the looks only one that was the last event; a bar does not break the table."""
    events: list[tuple[float, Any]] = [(0, Start("ann")), (1, look()), (2, look(Action.HOLD, "no | traffic"))]
    found = page(course(*events))["What happened"]
    assert [
        "| hour | at | event | by | what |",
        "| ---: | --- | --- | --- | --- |",
        "| 0.0 | 2026-01-02 04:00 UTC | start | ann | step 1 of 3: 10 % to the candidate |",
        "| 2.0 | 2026-01-02 06:00 UTC | look |  | no \\| traffic |",
    ] == found
