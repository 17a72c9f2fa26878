#!/usr/bin/env bash
# Semantic IDs of two million synthetic items: fit on 200,000, code all, look up; then
# FAISS on the same vectors where PYTHON has it. Usage: experiments/sid_scale/run.sh
# [FOLDER]; minutes on 2 cores, 4 GiB.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/sid_scale} results=experiments/sid_scale
mkdir -p "$out"
go build -o "$out/sid_scale" ./experiments/sid_scale
"$out/sid_scale" -out "$out" >"$results/result.json"
if "${PYTHON:-python3}" -c 'import faiss'; then
  "${PYTHON:-python3}" "$results/peer.py" "$out" 64 200000 >"$results/faiss.json"
fi
go test ./internal/sid -run '^$' -bench 'TwoMillion/(id|code|children)' -benchmem | grep Benchmark >"$results/lookups.txt"
go run ./experiments/sid_scale/table >"$results/table.txt"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.txt"
