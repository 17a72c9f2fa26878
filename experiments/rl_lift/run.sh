#!/usr/bin/env bash
# What reinforcement learning adds on the synthetic market: the incoming order, SFT, RL from mid-training and RL from SFT, all read by
# the ranking they write, with three seeds (or those in SEEDS); a seed draws market and run. Each cell leaves its report, so that
# the script goes on where it was stopped.
# Usage: experiments/rl_lift/run.sh [FOLDER]; an hour on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/rl_lift}
results=experiments/rl_lift
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2

# cell NAME SETTINGS...: one run, on the stages that the SFT run of the seed has made.
cell() {
  local name=$1 result=$results/seed-$seed-$1.json run=$out/seed-$seed-$1
  shift
  [ -f "$result" ] && return
  if [ "$name" != sft ] && [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$out/seed-$seed-sft" "$run.part"
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$out/market-$seed" --out "$run" --preset nano -c "$results/config.yaml" --seed "$seed" "$@" >"$run.txt"
  "$out/gr2" eval --run "$run" --json >"$result.part"
  [ "$name" = sft ] || cp "$run/rl/state/metrics.jsonl" "$results/seed-$seed-$name.metrics.jsonl"
  mv "$result.part" "$result"
}

for seed in ${SEEDS:-1 2 3}; do
  [ -f "$out/market-$seed/manifest.json" ] || "$out/gr2" data synth --seed "$seed" --out "$out/market-$seed"
  cell sft
  cell rl-from-sft --set rl.steps=60
  cell rl-from-midtrain --set rl.steps=60 --set rl.from=midtrain
done

for name in rl-from-sft rl-from-midtrain; do
  runs=()
  for seed in ${SEEDS:-1 2 3}; do runs+=(--run "$out/seed-$seed-$name"); done
  "$out/gr2" eval "${runs[@]}" >"$results/table-$name.txt"
done
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
