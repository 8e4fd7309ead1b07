#!/usr/bin/env bash
# Verify the newest seal in a folder (default: artifacts/seals), then change copies of it and see that this is found.
# Ends with 0 if the seal verifies and every change is found. Needs no database and no network.
set -euo pipefail
folder="${1:-artifacts/seals}"
for seal in "$folder"/*.seal.json; do :; done  # the last one is the newest
rows="${seal%.seal.json}.rows.json"
copies="$(mktemp -d)"
trap 'rm -rf "$copies"' EXIT
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

caught() { # the end of what `bakeoff verify` says, and its exit code, which has to be 1
  local code=0
  printf '\n%s\n\033[1m$ bakeoff verify COPY\033[0m\n' "$1"
  bakeoff verify "$copies/$(basename "$seal")" | sed -n '/^not verified/,$p' || code=$?
  printf '(exit code %s)\n' "$code"
  [ "$code" -eq 1 ] || { echo 'this change was not found' >&2; exit 1; }
}

say bakeoff verify "$seal" --recompute | tee "$copies/said"
grep 'by demo (' "$copies/said" >/dev/null &&
  echo "signed with the demo's own key, made by the demo itself: that proves nothing about who signed"

cp "$seal" "$rows" "$copies"
copy="$copies/$(basename "$seal")"
byte="$(dd if="$copy" bs=1 skip=1000 count=1 2>/dev/null)"
[ "$byte" = A ] && other=B || other=A
printf %s "$other" | dd of="$copy" bs=1 seek=1000 conv=notrunc 2>/dev/null
caught "A copy, and one byte of it changed ($byte is $other now):"

cp "$seal" "$copies"
copy="$copies/$(basename "$rows")"
sed 's/"answer_right":0/"answer_right":1/' "$rows" >"$copy"
caught "A copy, and one number in its rows edited (a wrong answer is a right one now):"
