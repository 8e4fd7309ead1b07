#!/usr/bin/env bash
# The demo: lock baseline and candidate, ingest both in the shadow, fix the bar, evaluate both, judge.
# Everything stays in .bakeoff/ and artifacts/ of the folder it is run from; run again, it finds its work done.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say bakeoff lock-config configs/baseline.yaml
say bakeoff lock-config configs/candidate.yaml --generate-runbook
say bakeoff locks diff baseline candidate
say bakeoff shadow-ingest --lock baseline python
say bakeoff shadow-ingest --lock candidate python
say bakeoff plan --baseline baseline --candidate candidate --questions configs/demo/questions.jsonl --gates configs/demo/gates.yaml --timings 100
say bakeoff evaluate --lock baseline --questions configs/demo/questions.jsonl --workers 2
say bakeoff evaluate --lock candidate --questions configs/demo/questions.jsonl --workers 2
say bakeoff timings
say bakeoff probes --lock candidate --baseline baseline
say bakeoff kpi-check
printf '\nnext: bakeoff parity --lock candidate, bakeoff explain baseline candidate, bakeoff report baseline candidate\n'
