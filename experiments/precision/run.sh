#!/usr/bin/env bash
# What bfloat16 in training and weights of eight bits in use cost: the demo with three seeds (or those in SEEDS).
# What is committed is of the preset nano at the commit in made.txt: check that out to make it again; a newer tree measures its own preset.
# Usage: experiments/precision/run.sh [FOLDER]; about ten minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/precision}
results=experiments/precision
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
for seed in ${SEEDS:-1 2 3}; do
  for way in float32 bf16; do
    set=()
    [ "$way" = float32 ] || set=(--set midtrain.bf16=true --set sft.bf16=true)
    run=$out/$way-$seed
    "$out/gr2" demo --quiet --seed "$seed" --out "$run" "${set[@]}" >"$run.txt"
    cp "$run/report.json" "$results/$way-$seed.json"
    tail -n 100 "$run/midtrain/state/metrics.jsonl" >"$results/$way-$seed-midtrain.jsonl"
    grep '"valid"' "$run/sft/state/metrics.jsonl" >"$results/$way-$seed-sft.jsonl"
  done
  "$out/gr2" demo --quiet --seed "$seed" --out "$out/float32-$seed" --set eval.weights=int8 >"$out/int8-$seed.txt"
  cp "$out/float32-$seed/report.json" "$results/int8-$seed.json"
done
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
go run ./experiments/precision | tee "$results/table.txt"
