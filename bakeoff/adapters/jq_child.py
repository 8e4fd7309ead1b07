"""Runs jq programs in a process of its own, with nothing in its environment; started by `jq_programs`, never imported.

Reads from stdin one line with {"memory": bytes, "documents": {name: JSON text}, "programs": {name: program}}; writes a
line for each value as soon as it is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys


def _bounded(memory: int) -> None:
    """Let the process have so many bytes; not every system has such limits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> None:
    """Run what stdin asks for."""
    os.environ.clear()
    import jq

    asked = json.loads(sys.stdin.readline())
    _bounded(int(asked["memory"]))
    for name, program in asked["programs"].items():
        for value in jq.compile(program).input_text(asked["documents"][name]):
            sys.stdout.write(json.dumps(value) + "\n")
            sys.stdout.flush()


main()
