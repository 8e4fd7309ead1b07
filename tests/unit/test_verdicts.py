"""Verdicts: their order, the worst of many, and the exit codes that CI jobs rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.verdicts import EXIT_OF, Severity, Verdict, overall, worst

ORDER = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NO_DATA, Verdict.ERROR, Verdict.FAIL)
VERDICTS = st.lists(st.sampled_from(Verdict))
FINDINGS = st.lists(st.tuples(st.sampled_from(Severity), st.sampled_from(Verdict)))


def test_the_later_the_worse() -> None:
    """Fail is worse than error, than no data, than inconclusive, than pass."""
    assert ORDER == tuple(Verdict)
    for place, better in enumerate(ORDER):
        for worse in ORDER[place:]:
            assert worse is worst([better, worse]) is worst([worse, better])


def test_the_worst_of_nothing_is_no_data() -> None:
    """Where nothing was asked, nothing passed."""
    assert Verdict.NO_DATA is worst([])
    assert Verdict.NO_DATA is overall([])
    assert Verdict.NO_DATA is overall([(Severity.WARN, Verdict.PASS), (Severity.DRY_RUN, Verdict.PASS)])


@given(VERDICTS, st.sampled_from(Verdict))
def test_a_further_verdict_never_improves(found: list[Verdict], more: Verdict) -> None:
    """With one more verdict the worst is as bad as before, or worse; only "nothing at all" can give way to a pass."""
    before, after = worst(found), worst([*found, more])
    assert not found or ORDER.index(after) >= ORDER.index(before)
    assert ORDER.index(after) >= ORDER.index(more)


@given(FINDINGS, st.sampled_from(Severity), st.sampled_from(Verdict))
def test_only_what_blocks_decides(found: list[tuple[Severity, Verdict]], severity: Severity, verdict: Verdict) -> None:
    """What only warns or is a dry run changes nothing; what blocks never improves the whole, in whatever order."""
    before, after = overall(found), overall([(severity, verdict), *found])
    if severity is not Severity.BLOCK:
        assert before is after
    elif any(other is Severity.BLOCK for other, _ in found):
        assert ORDER.index(after) >= ORDER.index(before)
    else:
        assert verdict is after


@pytest.mark.parametrize(
    ("verdict", "code"), [("pass", 0), ("fail", 1), ("inconclusive", 3), ("no_data", 3), ("error", 5)]
)
def test_every_verdict_has_its_exit_code(verdict: str, code: int) -> None:
    """0 pass, 1 fail, 3 not known, 5 broken: a job needs nothing else."""
    assert code == EXIT_OF[Verdict(verdict)]
    assert set(Verdict) == EXIT_OF.keys()
