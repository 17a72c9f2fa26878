#!/usr/bin/env bash
# The hacks of a reward and what the conditional ones do to them: naive sum, A, B and C from the same young policy, free decoding, on the
# synthetic market; the slates are shown in the incoming order, so that it can be echoed. Each cell leaves its report and its
# curves, so that the script goes on where it was stopped.
# Usage: experiments/reward_hacking/run.sh [FOLDER]; ten minutes a seed on 2 idle cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/reward_hacking}
results=experiments/reward_hacking
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
for seed in ${SEEDS:-1 2 3}; do
  data=$out/market-$seed base=$out/seed-$seed
  [ -f "$data/manifest.json" ] || "$out/gr2" data synth --k 5 --seed "$seed" --out "$data"
  "$out/gr2" train sft --data "$data" --out "$base" --preset nano -c "$results/config.yaml" --seed "$seed"
  for reward in naive a b c; do
    result=$results/seed-$seed-$reward run=$base-$reward
    [ -f "$result.json" ] && continue
    if [ ! -d "$run" ]; then
      rm -rf "$run.part"
      cp -r "$base" "$run.part"
      mv "$run.part" "$run"
    fi
    "$out/gr2" run --data "$data" --out "$run" --preset nano -c "$results/config.yaml" --seed "$seed" --set rl.reward=$reward >"$run.txt"
    cp "$run/rl/state/metrics.jsonl" "$result.metrics.jsonl"
    "$out/gr2" eval --run "$run" --json >"$result.part"
    mv "$result.part" "$result.json"
  done
done
go run ./experiments/reward_hacking >"$results/table.txt"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.txt"
