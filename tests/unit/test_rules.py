"""Gates files: every refusal in words with its gate, all at once; the shipped files hold the whole KPI table."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bakeoff import rules
from bakeoff.adapters import standard
from bakeoff.errors import ConfigError
from bakeoff.rules import Gain, Gate, Level, NoWorse, Profile, Stable
from bakeoff.verdicts import Severity

GOOD = {"name": "good", "rule": "no_worse", "metric": "f1", "margin": 0.05, "spread": 0.2}


def parsed(*gates: Any, **more: Any) -> Profile:
    """A profile of these gates."""
    return rules.parse({"profile": "test", "gates": list(gates), **more}, source="test.yaml")


def problems(*gates: Any, **more: Any) -> tuple[str, ...]:
    """What is wrong with a profile of these gates."""
    with pytest.raises(ConfigError) as caught:
        parsed(*gates, **more)
    assert "test.yaml is no gates file that can be used" == str(caught.value)
    return caught.value.problems


def no_worse(**changed: Any) -> dict[str, Any]:
    """A test for a loss, changed; what is None is left out."""
    found = {"name": "g", "rule": "no_worse", "metric": "f1", "margin": 0.05, "spread": 0.2, **changed}
    return {key: value for key, value in found.items() if value is not None}


def gain(**changed: Any) -> dict[str, Any]:
    """A wanted gain, changed."""
    return {"name": "g", "rule": "gain", "metric": "f1", "at_least": 0.05, **changed}


def level(**changed: Any) -> dict[str, Any]:
    """Bounds of the candidate's own figure."""
    return {"name": "g", "rule": "level", "metric": "f1", **changed}


def stable(**changed: Any) -> dict[str, Any]:
    """A figure of the whole that keeps still."""
    return {"name": "g", "rule": "stable", "metric": "snapshot_size", "within": 0.1, **changed}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "minimum effect": (no_worse(minimum_effect=0.06), "minimum_effect is 0.06, above the margin 0.05"),
    "fact": (
        no_worse(metric="snapshot_size"),
        "no_worse tests figures of questions; snapshot_size is a figure of the whole: use stable",
    ),
    "no spread": (no_worse(spread=None), "spread is missing: without it nobody can say what this gate will see"),
    "no discordance": (
        no_worse(metric="reader_used_gold", spread=None),
        "discordance is missing: without it nobody can say what this gate will see",
    ),
    "both": (no_worse(discordance=0.1), "f1 has a spread, no discordance"),
    "gain of a fact": (
        gain(metric="dedup_share"),
        "gain needs a figure of questions, higher is better; dedup_share is none",
    ),
    "gain of latency": (
        gain(metric=rules.LATENCY),
        "gain needs a figure of questions, higher is better; p95_latency_ms is none",
    ),
    "suspicious": (gain(suspicious_above=0.05), "suspicious_above is 0.05, not above at_least (0.05)"),
    "no bound": (level(), "level needs at_least, at_most or both"),
    "crossed": (level(at_least=0.5, at_most=0.4), "at_least is 0.5, above at_most (0.4): nothing could pass"),
    "above one": (level(at_least=1.1), "at_least is 1.1, and f1 is never above 1: nothing could pass"),
    "share above one": (
        level(metric="dedup_share", at_least=1.1),
        "at_least is 1.1, and dedup_share is never above 1: nothing could pass",
    ),
    "below zero": (level(at_most=-0.1), "at_most is -0.1, and f1 is never below 0: nothing could pass"),
    "count below zero": (
        level(metric="leaked_prefixes", at_most=-1),
        "at_most is -1.0, and leaked_prefixes is never below 0: nothing could pass",
    ),
    "a margin of everything": (no_worse(margin=1.0), "margin is 1.0: nothing could ever fail"),
    "a gain of any loss": (gain(at_least=-1.0), "at_least: Input should be greater than -1"),
    "a floor of zero": (level(at_least=0), "at_least 0.0 holds whatever f1 is: nothing could ever fail"),
    "a floor below zero": (
        level(metric="leaked_prefixes", at_least=-1),
        "at_least -1.0 holds whatever leaked_prefixes is: nothing could ever fail",
    ),
    "a ceiling of one": (
        level(metric="dedup_share", at_most=1),
        "at_most 1.0 holds whatever dedup_share is: nothing could ever fail",
    ),
    "a level of everything": (
        level(at_least=0, at_most=1.5),
        "at_least 0.0 and at_most 1.5 holds whatever f1 is: nothing could ever fail",
    ),
    "stable": (stable(metric="f1"), "stable compares figures of the whole; f1 is one of questions: use no_worse"),
    "no rule": ({"name": "g", "metric": "f1"}, "rule is missing: no_worse, gain, level or stable"),
    "wrong rule": ({"name": "g", "rule": "better"}, "rule must be no_worse, gain, level or stable"),
    "unknown key": (stable(colour=1), "colour: Extra inputs are not permitted"),
    "severity": (stable(severity="loud"), "severity: Input should be 'block', 'warn' or 'dry-run'"),
    "one question": (stable(minimum=1), "minimum: Input should be greater than or equal to 2"),
    "text": (no_worse(margin="0.05"), "margin: Input should be a valid number"),
    "not a number": (no_worse(margin=float("nan")), "margin: Input should be a finite number"),
    "endless": (level(at_most=float("inf")), "at_most: Input should be a finite number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_gate_is_refused_in_words(name: str) -> None:
    """One line with the gate's name and the comparison, nothing else."""
    gate, problem = BROKEN[name]
    assert (f"gate g: {problem}",) == problems(GOOD, gate) == problems(gate)


@pytest.mark.parametrize("gate", [no_worse, gain, level, stable])
def test_an_unknown_metric_is_refused(gate: Any) -> None:
    """The known ones are listed, whatever the rule."""
    (found,) = problems(GOOD, gate(metric="bleu"))
    assert found.startswith("gate g: metric: unknown metric 'bleu'; known are answer_right, dedup_share, em, ")
    assert "p95_latency_ms" in found


def test_what_two_gates_say_against_each_other_is_refused() -> None:
    """Levels that exclude each other, and two gates of one name."""
    low, high = level(name="low", at_least=0.5), level(name="high", at_most=0.4)
    assert ("gates low and high contradict each other: f1 at least 0.5 and at most 0.4",) == problems(low, high)
    assert problems(low, high) == problems(high, low)
    assert ("gate good stands twice",) == problems(GOOD, GOOD)
    other = level(name="high", metric="recall", at_most=0.4)
    assert 3 == len(parsed(low, other, level(name="same", at_least=0.2, at_most=0.5)).gates)


def test_a_gain_that_a_ceiling_forbids_is_refused() -> None:
    """Whoever gains more than the ceiling is above it; a gain up to it, of another metric or from a floor may be."""
    wanted, ceiling = gain(name="more", at_least=0.5), level(name="cap", at_most=0.4)
    assert ("gates more and cap contradict each other: a gain of 0.5 in f1 and at most 0.4",) == problems(
        wanted, ceiling
    )
    assert problems(wanted, ceiling) == problems(ceiling, wanted)
    for other in (level(name="cap", at_most=0.5), ceiling | {"metric": "recall"}, level(name="cap", at_least=0.4)):
        assert 2 == len(parsed(wanted, other).gates)


NEARLY: dict[str, dict[str, Any]] = {
    "a margin below everything": no_worse(margin=0.99),
    "twice the time": no_worse(metric=rules.LATENCY, margin=1.0),
    "a gain of nearly any loss": gain(at_least=-0.99),
    "a ceiling of zero": level(at_most=0),
    "a floor above zero": level(at_least=0.01),
    "a ceiling above one of a count": level(metric="reader_errors", at_least=0, at_most=5),
    "a floor of zero and a ceiling": level(at_least=0, at_most=0.9),
    "all of a share": level(at_least=1.0),
}


@pytest.mark.parametrize("name", NEARLY)
def test_a_gate_that_could_fail_is_none_that_never_could(name: str) -> None:
    """The last bound that something may lie beyond is accepted."""
    assert 1 == len(parsed(NEARLY[name]).gates)


def test_a_profile_that_could_never_fail_is_refused() -> None:
    """Without a gate that blocks, and without any gate."""
    said = "no gate blocks: nothing could ever fail"
    assert (said,) == problems(GOOD | {"severity": "warn"}, stable(severity="dry-run"))
    (empty,) = problems()
    assert empty.startswith("gates: ")


def test_every_problem_is_named_at_once() -> None:
    """Problems of the profile, of single gates (each of them) and between gates come in one answer."""
    found = problems(
        no_worse(name="a", metric="bleu"),
        no_worse(name="b", minimum_effect=0.06, spread=None, discordance=0.1),
        level(name="c", at_least=0.5),
        level(name="d", at_most=0.4),
        stable(name="d"),
        {"rule": "better"},
        "words",
        alpha=0.9,
        colour=1,
    )
    assert [
        "alpha",
        "gate a: metric",
        "gate b: minimum_effect is 0.06, above the margin 0.05",
        "gate b: spread is missing",
        "gate b: f1 has a spread, no discordance",
        "gate number 6: rule must be no_worse, gain, level or stable",
        "gate number 7",
        "colour",
        "gate d stands twice",
        "gates c and d contradict each other: f1 at least 0.5 and at most 0.4",
    ] == [
        item if item.endswith(("stable", "twice", "0.4", "0.05", "discordance")) else item.rpartition(": ")[0]
        for item in (text.partition("; ")[0] for text in found)
    ]


def test_a_broken_gate_that_would_block_still_blocks() -> None:
    """Nobody is told that nothing blocks because the gate that does is misspelled."""
    assert 1 == len(problems(no_worse(margin=7), stable(name="s", severity="warn")))


@pytest.mark.parametrize("data", [["a", "list"], "words", None, 3])
def test_a_file_without_keys_is_refused(data: Any) -> None:
    """YAML that is a list or a word is no profile."""
    with pytest.raises(ConfigError, match=r"test\.yaml: expected keys and values"):
        rules.parse(data, source="test.yaml")


@pytest.mark.parametrize("gates", [{"a": 1}, "words", None])
def test_gates_that_are_no_list_are_refused(gates: Any) -> None:
    """A mapping where the list of gates should be is named."""
    with pytest.raises(ConfigError) as caught:
        rules.parse({"profile": "test", "gates": gates}, source="test.yaml")
    assert caught.value.problems[0].startswith("gates: ")


FIRST = """
profile: test
alpha: 0.05   # one-sided
gates:
  - {name: good, rule: no_worse, metric: f1, margin: 0.05, spread: 0.2}
"""
SECOND = """
# the same, otherwise written
gates:
  - spread: 0.20
    margin: 5.0e-2
    metric: f1
    rule: no_worse
    name: good
profile: test
"""


def test_the_digest_is_that_of_the_rules() -> None:
    """Comments, the order of keys and defaults that are written out change nothing; a margin does."""
    first, second = (rules.parse(yaml.safe_load(text), source="test") for text in (FIRST, SECOND))
    assert first.digest == second.digest == parsed(GOOD).digest
    assert first.digest != parsed(GOOD | {"margin": 0.06}).digest
    assert first.digest != parsed(GOOD, alpha=0.04).digest
    assert first.digest == Profile.model_validate_json(first.model_dump_json()).digest


def test_the_tests_that_block_share_the_error_rate() -> None:
    """Of the gates only blocking tests for a loss."""
    quiet = [no_worse(name="w", severity="warn"), no_worse(name="d", severity="dry-run")]
    found = parsed(GOOD, *quiet, gain(), stable(name="s"))
    assert ["good"] == [gate.name for gate in found.tested]


def shipped(name: str) -> Profile:
    """A profile that comes with the package."""
    return standard.profile(standard.folder() / name)


def test_production_holds_every_line_of_the_table() -> None:
    """Oracle +5…15, no loss of filter, reader, F1; precision, latency, tokens, dedup, snapshot, leakage, targets."""
    found: dict[str, Gate] = {gate.name: gate for gate in shipped("gates.yaml").gates}
    assert all(gate.severity is Severity.BLOCK for gate in found.values())
    oracle, latency = found["oracle-gain"], found["latency"]
    assert isinstance(oracle, Gain)
    assert ("oracle_retrieval_hit_prefilter", 0.05, 0.15) == (oracle.metric, oracle.at_least, oracle.suspicious_above)
    tested = {
        "oracle-no-loss": "oracle_retrieval_hit_prefilter",
        "filter-no-loss": "filter_hit_postfilter",
        "reader-no-loss": "reader_used_gold",
        "f1-no-loss": "f1",
        "precision-drift": "precision",
    }
    for name, metric in tested.items():
        gate = found[name]
        assert isinstance(gate, NoWorse)
        assert (metric, 0.02) == (gate.metric, gate.margin)
    assert isinstance(latency, NoWorse)
    assert (rules.LATENCY, 0.15, 100) == (latency.metric, latency.margin, latency.minimum)
    bounds = {
        gate.name: (gate.metric, gate.at_least, gate.at_most) for gate in found.values() if isinstance(gate, Level)
    }
    assert {
        "oracle-floor": ("oracle_retrieval_hit_prefilter", 0.45, None),
        "filter-floor": ("filter_hit_postfilter", 0.20, None),
        "reader-errors": ("reader_errors", None, 0.0),
        "token-limit": ("max_embedding_token_count", None, 1024.0),
        "token-violations": ("embedding_tokens_over_limit", None, 0.0),
        "dedup": ("dedup_share", 0.10, 0.35),
        "leakage": ("leaked_prefixes", None, 0.0),
    } == bounds
    snapshot = found["snapshot"]
    assert isinstance(snapshot, Stable)
    assert ("snapshot_size", 0.10) == (snapshot.metric, snapshot.within)


def test_the_demo_asks_for_the_same_and_says_that_it_is_none() -> None:
    """The same gates with wider margins, a label in every artifact, and only the gain of less weight."""
    demo, production = shipped("demo/gates.yaml"), shipped("gates.yaml")
    assert [gate.name for gate in production.gates] == [gate.name for gate in demo.gates]
    assert ["oracle-gain"] == [gate.name for gate in demo.gates if gate.severity is not Severity.BLOCK]
    assert demo.label.startswith("Demo gates")
    assert "" == production.label
    for wide, narrow in zip(demo.tested, production.tested, strict=True):
        assert (wide.name, wide.metric) == (narrow.name, narrow.metric)
        assert wide.margin > narrow.margin
