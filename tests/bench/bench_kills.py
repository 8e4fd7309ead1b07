"""Two hundred kills at random points of simulated rollouts: is the final history that of an undisturbed one?

Each kill is a SIGKILL of a controller of its own process, several on each rollout; good candidates and harmed ones take
turns. Compared are events with states and times, outcomes by step and arm, notices, activations.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from tests import killed
from tests.bench import common
from tests.db.test_rollout_kills import FAULTS, WATCHED
from tests.killed import Disturbed, Ending
from tests.rolled import Rolled, copy_of, parsed, rolled

KILLS = 200
MOST_ON_ONE = 10
SEED = 17
STEPS = [{"percent": share, "hours": 8} for share in (20, 50, 100)]


def measured(url: str, folder: Path, kills: int) -> dict[str, Any]:
    """Return how many of the disturbed rollouts ended as an undisturbed one does."""
    rng, rollouts, same, done, begun, amid = random.Random(SEED), 0, 0, 0, 0, 0
    with rolled(url, str(conninfo_to_dict(url)["dbname"]), folder, parsed(watch=WATCHED, steps=STEPS)) as base:
        base.start()
        calm: dict[str, tuple[Ending, float]] = {}
        for name, fault in FAULTS.items():
            with copy_of(url, base) as site:
                seconds = killed.undisturbed(site, fault=fault)
                calm[name] = killed.ending(site), seconds
        began = time.monotonic()
        while done < kills:
            name = list(FAULTS)[rollouts % len(FAULTS)]
            found, equal = _one(url, base, name, calm[name], min(MOST_ON_ONE, kills - done), rng)
            rollouts, done, begun, amid = rollouts + 1, done + found.kills, begun + found.begun, amid + found.amid
            same += equal
    return {
        "kills": done,
        "kills_amid_work": amid,
        "rollouts": rollouts,
        "controllers_begun": begun,
        "histories_equal": same,
        "events_of_one": {name: len(ending[0]) for name, (ending, _) in calm.items()},
        "undisturbed_s": {name: round(seconds, 2) for name, (_, seconds) in calm.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def _one(
    url: str, base: Rolled, name: str, calm: tuple[Ending, float], most: int, rng: random.Random
) -> tuple[Disturbed, bool]:
    with copy_of(url, base) as site:
        found = killed.disturbed(site, rng, kills=most, seconds=0.3 * calm[1], fault=FAULTS[name])
        return found, killed.ending(site) == calm[0]


def main() -> int:
    """Measure, write, print; 1 where a history differs."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    with common.bench() as bench, tempfile.TemporaryDirectory() as folder:
        found = measured(bench.url, Path(folder), kills)
    common.save("kills", {"machine": common.machine(), "seed": SEED, **found})
    rows = [[found[name] for name in ("kills", "kills_amid_work", "rollouts", "histories_equal")]]
    common.table("SIGKILL at random points", ["kills>", "amid work>", "rollouts>", "histories equal>"], rows)
    return int(found["histories_equal"] != found["rollouts"])


if __name__ == "__main__":
    sys.exit(main())
