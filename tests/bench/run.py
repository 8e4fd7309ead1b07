"""Run every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.bench import common, page

ORDER = (
    *("cli", "ingest", "retrieval", "embedders", "metrics", "scifact", "chunking", "routing"),
    *("judging", "seal"),
)


def main() -> int:
    """Return how many failed."""
    failed = []
    for name in sys.argv[1:] or ORDER:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.bench_{name}"]
        if subprocess.run(command, cwd=common.ROOT, check=False).returncode:
            failed.append(name)
    page.main()
    print(f"failed: {', '.join(failed)}" if failed else "all benchmarks ran; the page is artifacts/bench/README.md")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
