#!/usr/bin/env bash
# The built wheel, with its core dependencies only, installs in a clean environment and starts outside the checkout.
# PYTHON: the interpreter to build and install with (default: python3.11).
set -euo pipefail
PYTHON=${PYTHON:-python3.11}
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

quietly() { # show what a step said only where it failed
    "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; printf 'wheel: failed: %s\n' "$*" >&2; return 1; }
}

quietly "$PYTHON" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir "$scratch/dist" "$root"
quietly "$PYTHON" -m venv "$scratch/venv"
quietly "$scratch/venv/bin/python" -m pip install --disable-pip-version-check "$scratch"/dist/bakeoff-*.whl

cd "$scratch" # nothing of the checkout may be in reach
unset PYTHONPATH
for variable in $(compgen -e BAKEOFF_ || true); do unset "$variable"; done
bakeoff=$scratch/venv/bin/bakeoff
python=$scratch/venv/bin/python
quietly "$bakeoff" --help
quietly "$bakeoff" --version
"$bakeoff" config show --json >"$scratch/settings.json"
quietly "$python" -c 'import json, sys; assert json.load(open(sys.argv[1]))["settings"]' "$scratch/settings.json"
quietly "$python" -c '
from pathlib import Path
import bakeoff
from bakeoff.adapters import migrations, queries
inside = Path(bakeoff.__file__).parent
assert queries.folder() == inside / "_sql", queries.folder()
assert queries.load("locks") and migrations.known()
'
echo "wheel: ok"
