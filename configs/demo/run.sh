#!/usr/bin/env bash
# The demo: everything from two configurations to a rehearsed rollout, its 48 hours on a simulated clock. Nothing in
# production changes by it: the real one is the same command with --clock wall. What it came to is sealed, verified, and
# verified once more after somebody changed a copy.
# Everything stays in .bakeoff/ and artifacts/ of the folder it is run from; run again, it finds its work done.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BAKEOFF_WORKERS="${BAKEOFF_WORKERS:-2}"
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say bakeoff run --corpus python --questions configs/demo/questions.jsonl --gates configs/demo/gates.yaml \
  --rollout configs/demo/rollout.yaml --timings 100 --clock simulated
say bakeoff status
bash configs/demo/tampering.sh "${BAKEOFF_ARTIFACTS:-artifacts}/seals"
printf '\nnext: bakeoff locks diff baseline candidate, bakeoff explain baseline candidate, bakeoff runbook latest\n'
