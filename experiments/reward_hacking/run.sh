#!/usr/bin/env bash
# The hacks of a reward and what the conditional ones do to them, on the synthetic market: naive sum, A, B and C from the same policy, slates
# shown in the incoming order, so that it can be echoed.
#   form  free decoding, slates of 5: what is paid for answers that are no ranking
#   copy  under the grammar, slates of 10: what is paid for the incoming order
# Each cell leaves its report and its curves, so that the script goes on where it was stopped.
# Usage: experiments/reward_hacking/run.sh [FOLDER]; SEEDS and PARTS choose among them. Twenty minutes a seed on 2 idle cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/reward_hacking}
results=experiments/reward_hacking
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2

cell() { # PART SLATE SEED REWARD
  local part=$1 seed=$3 reward=$4
  local result=$results/$part-seed-$seed-$reward base=$out/$part-seed-$seed data=$out/market-$2-$seed run=$out/$part-seed-$seed-$reward
  [ -f "$result.json" ] && return
  [ -f "$data/manifest.json" ] || "$out/gr2" data synth --k "$2" --seed "$seed" --out "$data"
  "$out/gr2" train sft --data "$data" --out "$base" --preset nano -c "$results/$part.yaml" --seed "$seed"
  if [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$base" "$run.part"
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$data" --out "$run" --preset nano -c "$results/$part.yaml" --seed "$seed" --set rl.reward="$reward" >"$run.txt"
  cp "$run/rl/state/metrics.jsonl" "$result.metrics.jsonl"
  "$out/gr2" eval --run "$run" --json >"$result.part"
  mv "$result.part" "$result.json"
}

for seed in ${SEEDS:-1 2 3}; do
  for part in ${PARTS:-form copy}; do
    for reward in naive a b c; do
      if [ "$part" = form ]; then cell form 5 "$seed" "$reward"; else cell copy 10 "$seed" "$reward"; fi
    done
  done
done
go run ./experiments/reward_hacking >"$results/table.txt"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.txt"
