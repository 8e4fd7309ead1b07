"""What CI systems read of a judgement: well-formed, unforgeable, and never another verdict than the exit code's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from bakeoff import ci, report
from bakeoff.errors import InputError
from bakeoff.findings import Finding, Reason, Worst
from bakeoff.verdicts import EXIT_OF, Severity, Verdict, overall

HOSTILE = "a, b: 100 % <b>\"'&</b>\r\n::error::forged\x00\x1b[31m\ud800\ufffe ]]> | `x` *y* \u2028 \U0001f600"
BAD = [verdict for verdict in Verdict if verdict is not Verdict.PASS]


def finding(
    gate: str = "oracle", verdict: Verdict = Verdict.PASS, severity: Severity = Severity.BLOCK, **more: Any
) -> Finding:
    """One gate's finding."""
    given_ = {"metric": "f1", "rule": "no_worse", "reason": Reason.REACHED, "said": "fine", "threshold": "no worse"}
    return Finding(gate=gate, verdict=verdict, severity=severity, **(given_ | more))


def judgement(*findings: Finding, **more: Any) -> dict[str, Any]:
    """The body of a judgement as the database gives it back."""
    side = {"lock": "a", "run_id": "20260102T030405-abcdef", "CONFIG_HASH": "0" * 16}
    return {
        "kind": "judgement",
        "profile": "production",
        "label": "",
        "verdict": overall((item.severity, item.verdict) for item in findings).value,
        "plan_sha256": "1" * 64,
        "baseline": side,
        "candidate": side | {"lock": "b", "CONFIG_HASH": "f" * 16},
        "findings": [asdict(item) | {"worst": [asdict(worst) for worst in item.worst]} for item in findings],
        **more,
    }


def read(text: str) -> tuple[TestSuite, list[TestCase]]:
    """The one suite of a JUnit file, and its cases."""
    (suite,) = JUnitXml.fromstring(text.encode())
    return suite, list(suite)


def commands(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each line as the runner reads it: level, properties, message, unescaped."""
    for line in text.removesuffix("\n").split("\n"):
        match = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line, re.DOTALL)
        assert match is not None, line
        properties = dict(item.split("=", 1) for item in match[2].split(","))
        for code, sign in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
            properties = {name: value.replace(code, sign) for name, value in properties.items()}
        message = match[3].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
        yield match[1], properties, message


ANY_FINDINGS = st.lists(
    st.builds(finding, verdict=st.sampled_from(Verdict), severity=st.sampled_from(Severity), said=st.text()), max_size=6
)


@given(ANY_FINDINGS)
def test_every_format_agrees_with_the_exit_code(findings: list[Finding]) -> None:
    """Something fails in JUnit and an `::error` stands in the annotations exactly where the exit code is not 0."""
    body = judgement(*findings)
    not_zero = EXIT_OF[Verdict(body["verdict"])] != 0
    suite, cases = read(ci.junit(body))
    assert not_zero == (suite.failures + suite.errors > 0)
    assert not_zero == any(level == "error" for level, _, _ in commands(ci.github(body)))
    assert f"exit code {EXIT_OF[Verdict(body['verdict'])]}" in ci.markdown(body)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (
        len(cases),
        *(
            sum(isinstance(case.result[0] if case.result else None, kind) for case in cases)
            for kind in (Failure, Error, Skipped)
        ),
    )


@pytest.mark.parametrize(
    ("verdict", "kind", "named"),
    [
        (Verdict.FAIL, Failure, "fail"),
        (Verdict.INCONCLUSIVE, Failure, "inconclusive"),
        (Verdict.ERROR, Error, "error"),
        (Verdict.NO_DATA, Error, "no_data"),
    ],
)
def test_a_gate_that_blocks_fails_its_case(verdict: Verdict, kind: type[Failure | Error], named: str) -> None:
    """Fail and inconclusive are failures, error and no data are errors; the type tells them apart."""
    suite, cases = read(ci.junit(judgement(finding("good"), finding("bad", verdict, said="why"))))
    assert ["good", "bad"] == [case.name for case in cases]
    assert [] == cases[0].result
    (result,) = cases[1].result
    assert (kind, named, f"{named}: why") == (type(result), result.type, result.message)
    assert "bakeoff kpi-check (production)" == suite.name
    assert {"kpi.production"} == {case.classname for case in cases}


@pytest.mark.parametrize("severity", [Severity.WARN, Severity.DRY_RUN])
@pytest.mark.parametrize("verdict", BAD)
def test_a_gate_that_decides_nothing_is_skipped(severity: Severity, verdict: Verdict) -> None:
    """What it found is shown, the suite stays green, and the annotation is a warning or a notice."""
    body = judgement(finding("good"), finding("aside", verdict, severity, said="why"))
    suite, cases = read(ci.junit(body))
    assert (2, 0, 0, 1) == (suite.tests, suite.failures, suite.errors, suite.skipped)
    (result,) = cases[1].result
    assert (Skipped, f"{severity.value}: {verdict.value}: why") == (type(result), result.message)
    assert "asked for: no worse" in cases[1].system_out
    first, second = commands(ci.github(body))
    assert "notice" == first[0]
    assert ("warning" if severity is Severity.WARN else "notice", "bakeoff kpi-check: aside") == (
        second[0],
        second[1]["title"],
    )


def test_no_gate_that_blocks_is_no_pass() -> None:
    """Nothing was asked: the verdict has a case of its own that errs, since else a green suite would lie."""
    suite, cases = read(ci.junit(judgement(finding(severity=Severity.WARN))))
    assert ["oracle", "verdict"] == [case.name for case in cases]
    assert (2, 1) == (suite.tests, suite.errors)
    assert "no_data" == cases[1].result[0].type
    assert "error" == next(commands(ci.github(judgement())))[0]


def test_a_verdict_that_is_not_the_findings_is_refused() -> None:
    """An edited judgement can't be rendered green, nor a green one red."""
    for body in (judgement(finding(verdict=Verdict.FAIL), verdict="pass"), judgement(finding(), verdict="fail")):
        for render in (ci.junit, ci.github, ci.markdown):
            with pytest.raises(InputError, match=r"the judgement says (pass|fail), its findings say (fail|pass)"):
                render(body)


FULL = finding(
    "f1-kept",
    Verdict.INCONCLUSIVE,
    said="neither a loss nor its absence is shown",
    threshold="no worse than 2.0 points",
    value=0.25,
    baseline=0.5,
    difference=-0.25,
    low=-0.3,
    high=0.1,
    n=40,
    detectable=0.125,
    further_questions=60,
    worst=(Worst("q7", "why?", 1.0, None),),
)


def test_all_that_a_verdict_rests_on_is_shown() -> None:
    """Figures, interval, what the gate could see, what would decide it, the worst questions; None is a dash."""
    expected = [
        "asked for: no worse than 2.0 points",
        "baseline 0.500, candidate 0.250, difference -0.2500 (interval [-0.3000, +0.1000]), n 40",
        "smallest loss it would have seen: 0.125",
        "about 60 more questions would decide it",
        "worst: q7: why? (1.000 → –)",
    ]
    said = "inconclusive: neither a loss nor its absence is shown"
    body = judgement(FULL)
    _, (case,) = read(ci.junit(body))
    assert "\n".join([said, *expected]) == case.result[0].text
    assert "\n".join([said, *expected]) == list(commands(ci.github(body)))[1][2]
    page = ci.markdown(body)
    assert "### f1-kept: inconclusive\n\nneither a loss nor its absence is shown\n\n" in page
    assert page.endswith("".join(f"- {line}\n" for line in expected))
    figures = "0.500 | 0.250 | -0.2500 | [-0.3000, +0.1000]"
    row = f"| f1-kept | inconclusive | block | {figures} | no worse than 2.0 points | 40 |"
    assert row in page
    assert (
        "## bakeoff kpi-check: inconclusive\n\n"
        "inconclusive: not known: more questions would decide it (inconclusive: f1-kept); " in page
    )


def test_figures_have_their_unit() -> None:
    """Milliseconds of a latency, whole numbers of a fact, points of the rest."""
    found = [
        finding(f"g{n}", metric=metric, value=value)
        for n, (metric, value) in enumerate([("p95_latency_ms", 12.34), ("leaked_prefixes", 3.0), ("f1", 0.5)])
    ]
    cells = [line.split(" | ")[4] for line in ci.markdown(judgement(*found)).splitlines() if line.startswith("| g")][1:]
    assert ["12.3 ms", "3", "0.500"] == cells


@pytest.mark.parametrize(("rule", "shown"), [("level", "[0.400, 0.500]"), ("gain", "[+0.4000, +0.5000]")])
def test_an_interval_is_signed_where_it_is_of_a_difference(rule: str, shown: str) -> None:
    """A level's interval is of the figure itself."""
    assert f"| {shown} |" in ci.markdown(judgement(finding(rule=rule, low=0.4, high=0.5)))


def test_too_good_is_said() -> None:
    """A suspicious pass passes, but as a warning that a person sees."""
    body = judgement(finding("gain", reason=Reason.SUSPICIOUS, said="too good to be believed unseen"))
    assert ["notice", "warning"] == [level for level, _, _ in commands(ci.github(body))]
    assert "| gain | pass (suspicious) |" in ci.markdown(body)
    assert "too good to be believed unseen" in ci.markdown(body)
    suite, (case,) = read(ci.junit(body))
    assert (0, 0, 0) == (suite.failures, suite.errors, suite.skipped)
    assert "too good" in case.system_out


def _properties(suite: TestSuite) -> dict[str, str]:
    return {item.name: item.value for item in suite.properties()}  # type: ignore[no-untyped-call]  # theirs is untyped


def test_label_and_simulation_are_in_every_format() -> None:
    """What limits a judgement goes wherever it goes; who was judged too."""
    body = judgement(finding(), label="wide margins: a demo", simulated=True)
    suite, _ = read(ci.junit(body))
    properties = _properties(suite)
    assert ("wide margins: a demo", "true", "b", "f" * 16) == (
        *(properties["label"], properties["simulated"]),
        *(properties["candidate.lock"], properties["candidate.CONFIG_HASH"]),
    )
    for text in (ci.junit(body), ci.github(body), ci.markdown(body)):
        assert "simulated: no such system was measured" in text
        assert "wide margins: a demo" in text
    plain = _properties(read(ci.junit(judgement(finding())))[0]).keys()
    assert {"verdict", "profile", "plan_sha256"} <= plain
    assert not {"label", "simulated"} & plain


def test_the_gates_file_is_where_annotations_stand() -> None:
    """The path is a property of every command, escaped."""
    found = list(commands(ci.github(judgement(finding(verdict=Verdict.FAIL)), gates_file="configs/a, b:c%.yaml")))
    assert 2 == len(found)
    assert {"configs/a, b:c%.yaml"} == {properties["file"] for _, properties, _ in found}


def test_the_verdict_and_what_blocks_come_first() -> None:
    """GitHub shows ten annotations of a step: the verdict, then what blocks, then what warns."""
    findings = [finding(f"g{n}", Verdict.FAIL, severity) for n, severity in enumerate(reversed(Severity))]
    titles = [
        properties["title"].removeprefix("bakeoff kpi-check")
        for _, properties, _ in commands(ci.github(judgement(*findings)))
    ]
    assert ["", ": g2", ": g1", ": g0"] == titles


@pytest.mark.parametrize("verdict", list(Verdict))
def test_hostile_texts_stay_texts(verdict: Verdict) -> None:
    """Markup, control characters, half a surrogate pair and a forged command in question, label and words."""
    worst = Worst(HOSTILE, HOSTILE, None, 0.0)
    body = judgement(finding("bad", verdict, said=HOSTILE, threshold=HOSTILE, worst=(worst,)), label=HOSTILE)
    shown = " ".join(HOSTILE.split())
    for sign, seen in (
        ("\x00", "\\x00"),
        ("\x1b", "\\x1b"),
        ("\ud800", "\\ud800"),
        ("\ufffe", "\ufffd"),
    ):
        shown = shown.replace(sign, seen)
    text = ci.junit(body)
    suite, (case,) = read(text)
    held = case.system_out if verdict is Verdict.PASS else case.result[0].text
    assert f"{verdict.value}: {shown}" == held.split("\n")[0]
    assert f"asked for: {shown}" in held.split("\n")
    assert f"worst: {shown}: {shown} (– → 0.000)" in held.split("\n")
    assert 0 == text.count("<b>")
    assert suite.tests == 1
    lines = ci.github(body).split("\n")
    assert (2 if verdict is Verdict.PASS else 3) == len(lines)
    assert {"::"} == {line[:2] for line in lines[:-1]}
    assert not [line for line in lines if line.startswith("::error::")]
    page = ci.markdown(body)
    assert "<b>" not in page.replace("\\<b", "")
    assert "`x`" not in page
    page.encode()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_leaves_a_well_formed_document(text: str) -> None:
    """Whatever Python can hold in a string, surrogates included."""
    body = judgement(finding("bad", Verdict.FAIL, said=text, worst=(Worst(text, text, None, None),)), label=text)
    suite, _ = read(ci.junit(body))
    assert 1 == suite.failures
    assert 2 == len(list(commands(ci.github(body))))
    ci.markdown(body).encode()


def test_a_question_adds_no_line_to_any_format() -> None:
    """Line feeds in a question's text would otherwise say what the judgement did not."""
    forged = "what?\nverdict: PASS\n- pass: all gates"
    body = judgement(finding("bad", Verdict.FAIL, worst=(Worst("q1", forged, 1.0, 0.0),)))
    _, (case,) = read(ci.junit(body))
    (_, _, _), (_, _, message) = commands(ci.github(body))
    for text in (case.result[0].text, message, ci.markdown(body)):
        assert not [line for line in text.split("\n") if line.startswith(("verdict: PASS", "- pass"))]


@pytest.mark.parametrize(
    ("verdict", "worded"), [(Verdict.NO_DATA, "no_data: odd"), (Verdict.INCONCLUSIVE, "inconclusive: odd")]
)
def test_a_gate_is_listed_by_what_it_came_to(verdict: Verdict, worded: str) -> None:
    """A gate without data beside one that failed did not fail: it stands under its own verdict."""
    body = judgement(finding("bad", Verdict.FAIL), finding("odd", verdict), finding("good"))
    for text in (ci.junit(body), ci.github(body), ci.markdown(body).replace("\\", "")):
        assert f"a gate that blocks failed (fail: bad; {worded})" in text.replace("%25", "%")


def test_a_latency_is_seen_in_percent() -> None:
    """What a gate would have seen of a latency is a growth in percent; of a level or a gain no loss is spoken of."""
    slow = finding("slow", Verdict.FAIL, metric="p95_latency_ms", detectable=0.387)
    level = finding("level", Verdict.FAIL, rule="level", detectable=0.05)
    gain = finding("gain", Verdict.FAIL, rule="gain", detectable=0.05)
    fact = finding("fact", Verdict.FAIL, rule="stable", metric="snapshot_size", detectable=0.0)
    body = judgement(slow, level, gain, fact, finding("loss", Verdict.FAIL, detectable=0.05))
    _, cases = read(ci.junit(body))
    said = {case.name: case.result[0].text for case in cases}
    assert "smallest growth it would have seen: 38.7 %" in said["slow"]
    assert "smallest loss it would have seen: 0.050" in said["loss"]
    for name in ("level", "gain"):
        assert "smallest distance from what is asked for that it would have shown: 0.050" in said[name]
    assert "would have" not in said["fact"]


def test_too_few_questions_are_no_promise() -> None:
    """Where there are too few to judge, how many would decide is not known: only how many are needed at least."""
    few = finding("few", Verdict.INCONCLUSIVE, reason=Reason.TOO_FEW, further_questions=1)
    open_ = finding("open", Verdict.INCONCLUSIVE, reason=Reason.UNDECIDED, further_questions=1200)
    body = judgement(few, open_)
    for text in (ci.junit(body), ci.github(body), ci.markdown(body)):
        assert "at least 1 more question is needed to judge at all" in text
        assert "about 1,200 more questions would decide it" in text


def test_what_is_taken_from_a_record_has_no_count() -> None:
    """Probes and parity count no questions: no 0 stands beside their pass."""
    assert "| pass | – |" in ci.markdown(judgement(finding("probes", rule="recorded", threshold="pass")))


def test_the_timings_are_named_with_their_number() -> None:
    """Timing again and again until it fits can be seen: which of how many was judged by."""
    body = judgement(finding(), timings={"record": 12, "sha256": "0" * 64}, timings_made=3)
    for text in (ci.junit(body), ci.github(body), ci.markdown(body)):
        assert "latency by timings of record 12, newest of 3 of this plan" in text
    once = judgement(finding(), timings={"record": 12, "sha256": "0" * 64}, timings_made=1)
    assert "newest of" not in ci.junit(once)
    assert "newest of" not in ci.junit(judgement(finding(), timings={"record": 12, "sha256": "0" * 64}))


ACCEPTED = {"accepted_blind": ["f1", "em"], "known_scores": ["run-1"], "runs_made": {"baseline": 1, "candidate": 2}}
SAID = (
    "accepted blind: f1, em",
    "planned after these runs were known: run-1",
    "candidate evaluated 2 times for this plan, judged by run 20260102T030405-abcdef",
)


def test_every_form_says_what_was_accepted_and_what_was_repeated() -> None:
    """In spite of what the plan was made, and what somebody may have chosen by repeating; none says nothing."""
    body = judgement(finding(), **ACCEPTED)
    xml = ci.junit(body)
    found = _properties(read(xml)[0])
    assert ("f1, em", "run-1") == (found["accepted_blind"], found["known_scores"])
    ((_, _, message),) = commands(ci.github(body))
    for said in SAID:
        assert said in xml
        assert said in message
        assert f"> {report.markdown_text(said)}\n" in ci.markdown(body)
    plain = judgement(finding(), accepted_blind=[], known_scores=[], runs_made={"baseline": 1, "candidate": 1})
    assert (ci.junit(judgement(finding())), ci.github(judgement(finding()))) == (ci.junit(plain), ci.github(plain))


def test_sentences_of_an_annotation_end_once() -> None:
    """A label that is a sentence already gets no second full stop."""
    ((_, _, message),) = commands(ci.github(judgement(finding(), label="The margins are wide.", **ACCEPTED)))
    assert ". The margins are wide. accepted blind: f1" in message
    assert ".." not in message
