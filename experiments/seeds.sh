#!/usr/bin/env bash
# One configuration on one data set with three seeds (or those in SEEDS), from import to table.
# Usage: experiments/seeds.sh NAME FOLDER gr2-import-arguments -- gr2-run-arguments
# FOLDER keeps data and runs; a script that is started again goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 out=$2
shift 2
import=()
while [ "$1" != "--" ]; do import+=("$1"); shift; done
shift
results=experiments/$name
mkdir -p "$out" "$results"
go build -o "$out/gr2" ./cmd/gr2
[ -f "$out/data/manifest.json" ] || "$out/gr2" data import "${import[@]}" --out "$out/data"
runs=()
for seed in ${SEEDS:-1 2 3}; do
  run=$out/seed-$seed
  "$out/gr2" run --data "$out/data" --out "$run" --seed "$seed" "$@" >"$run.txt"
  "$out/gr2" eval --run "$run" --json >"$results/seed-$seed.json"
  runs+=(--run "$run")
done
"$out/gr2" eval "${runs[@]}" >"$results/table.txt"
"$out/gr2" eval "${runs[@]}" --json >"$results/result.json"
cp "$run/config.yaml" "$results/config.yaml"
for run in "$out"/seed-?; do
  grep -H '"seconds"' "$run"/*/stage.json
done | sed "s|^$out/||; s|/stage.json:||; s|[\",]||g" >"$results/seconds.txt"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.txt"
