"""How a run ends: what it came to is sealed, or it is said why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bakeoff.adapters import keys
from bakeoff.adapters.settings import Settings
from bakeoff.cli import _sealing
from bakeoff.cli._shared import say
from bakeoff.errors import IntegrityError, StateError
from bakeoff.rollout import OPEN
from bakeoff.stages.run_steps import Done, Going


def at_the_start(found: Settings, *, clock: str, now: datetime) -> None:
    """Say on stderr where there is no key that the run can be sealed with: it may take two days to get there."""
    if clock == "simulated" and not _sealing.has_key(found):
        return  # it makes its own
    try:
        _sealing.signer(found, now=now)()
    except (StateError, IntegrityError) as error:
        say(f"bakeoff: this run can't be sealed at its end: {error}; {error.hint}")


def at_the_end(found: Settings) -> Callable[[Going], Done]:
    """Return the last stage of a run: seal what it came to, or say in a line why not, with the command.

    A simulated run without a key makes one called `demo`. Raises IntegrityError where evidence was changed.
    """

    def work(going: Going) -> Done:
        if going.rollout is not None and going.rollout.phase in OPEN:
            return Done(f"not yet: {going.rollout.rollout_id} is on its way; then: bakeoff seal", reused=True)
        simulated = going.order.given.clock == "simulated"
        try:
            if simulated and not _sealing.has_key(found):
                _sealing.ring(found).new(keys.DEMO, now=going.now(), passphrase=_sealing.passphrase(found))
            with going.connect() as conn:
                data = _sealing.seal(
                    conn, found, going.plan.plan_sha256, clock=going.order.given.clock, now=going.now()
                )
        except IntegrityError:
            raise
        except StateError as error:
            return Done(f"not sealed: {error}; {error.hint}, then: bakeoff seal", reused=True)
        by = f"{data['key']}, {_sealing.PROVES_NOTHING}" if data["key"] == keys.DEMO else data["key"]
        said = f"seal {data['number']} ({data['payload_sha256'][:12]}…), {data['file']}, signed by {by}"
        return Done(said, reused=not data["new"])

    return work
