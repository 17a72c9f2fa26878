#!/usr/bin/env bash
# Notes in FOLDER/made.tsv with which commit, toolchain and machine a RESULT of the folder was made, and when, in place of what stood there
# of it. A commit with + had changes on it.
# Usage: experiments/made.sh FOLDER RESULT
set -euo pipefail
folder=$1 result=$2
commit=$(git rev-parse HEAD)
if ! git diff --quiet HEAD -- '*.go' '*.yaml' '*.s' go.mod "$folder/*.sh" "$folder/cells.txt"; then commit+=+; fi
cpu=$(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs || true)
(
  flock 9
  { grep -sv "^$result"$'\t' "$folder/made.tsv" || true; printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$result" "$commit" "$(go env GOVERSION)" "${cpu:-unknown}" "$(nproc)" "$(date -u +%F)"; } | LC_ALL=C sort >"$folder/made.tsv.part"
  mv "$folder/made.tsv.part" "$folder/made.tsv"
) 9<"$folder"
