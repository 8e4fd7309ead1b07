"""Nothing is sealed that `verify` would refuse.

Callers may rely on: every claim that needs only the predicate holds of what `require` lets pass. The claims that need
the rows are left out, since their counts, roots and figures are made of the same rows a moment before; so are the
artifacts beside a seal and what `verify --recompute` derives again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bakeoff import claims, kinds, provenance
from bakeoff.difference import Difference
from bakeoff.errors import IntegrityError
from bakeoff.evidence import Subject
from bakeoff.sealed import Sealed

_HINT = (
    "what it rests on was changed or made anew since it was recorded: evaluate, probe, check parity and judge again "
    "(bakeoff kpi-check --promote-check); a rollout that began on it before can't be sealed unless that is put back"
)


def require(subjects: Sequence[Subject], predicate: Mapping[str, Any]) -> None:
    """Raise IntegrityError, naming the claim and the first difference, unless every claim about *predicate* holds."""
    for name, first in _failing(Sealed(dict(predicate), tuple(subjects))):
        raise IntegrityError(f"this would not verify: {name}: {first}", hint=_HINT)


def _failing(seal: Sealed) -> Iterator[tuple[str, object]]:
    """Yield the claims that do not hold, each with what differs first."""
    for name, _, of in (("fields", "", _fields), *claims.FROM_PREDICATE, *claims.AFTER, ("subjects", "", _subjects)):
        try:
            first = next(of(seal), None)
        except claims.BROKEN as error:
            yield name, f"can't be checked: {' '.join(str(error).split())}"
        else:
            if first is not None:
                yield name, first


def _fields(seal: Sealed) -> Iterator[Difference]:
    return kinds.values(seal.predicate)


def _subjects(seal: Sealed) -> Iterator[Difference]:
    return provenance.subjects(seal)
