#!/usr/bin/env bash
# The hacks of a reward and what the conditional ones do to them: naive sum, A, B and C from the same policy, slates shown in the incoming
# order, so that it can be echoed.
#   form         the synthetic market, free decoding, slates of 5: what is paid for answers that are no ranking
#   copy         the synthetic market, under the grammar, slates of 10: what is paid for the incoming order
#   form-beauty, copy-beauty  the same on Amazon Beauty, both with slates of 10
#   form-sports, copy-sports  the same on Amazon Sports and Outdoors
# Each cell leaves its report and its curves, each seed of a part a report with the curves of its four rewards in FOLDER/PART-seed-N.html. FOLDER keeps the runs, and gr2 goes on where they were; a new FOLDER begins anew.
# Usage: [GR2_DATA=...] experiments/reward_hacking/run.sh [FOLDER]; SEEDS and PARTS choose among them.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/reward_hacking}
parts=${PARTS:-form copy form-beauty copy-beauty form-sports copy-sports}
case $parts in *beauty* | *sports*) : "${GR2_DATA:?names the folder of the data sets (README.md)}" ;; esac
results=experiments/reward_hacking
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2

# place PART: the folder of its data, made if need be; preset and config.
place() {
  preset=nano config=$results/$1.yaml
  case $1 in
    form) data=$out/market-5-$seed make=(data synth --k 5 --seed "$seed") ;;
    copy) data=$out/market-10-$seed make=(data synth --k 10 --seed "$seed") ;;
    *-beauty) data=$out/beauty make=(data import amazon --name amazon-beauty --reviews "$GR2_DATA/amazon_beauty/Beauty_5.json.gz" --meta "$GR2_DATA/amazon_beauty/meta_Beauty.json.gz") ;;
    *-sports) data=$out/sports make=(data import amazon --name amazon-sports --reviews "$GR2_DATA/amazon_sports/Sports_and_Outdoors_5.json.gz" --meta "$GR2_DATA/amazon_sports/meta_Sports_and_Outdoors.json.gz") ;;
    *) echo "no part $1: use form, copy, and these with -beauty or -sports" >&2; exit 2 ;;
  esac
  case $1 in *-beauty | *-sports) preset=small config=$results/${1%-*}-amazon.yaml ;; esac
  [ -f "$data/manifest.json" ] || "$out/gr2" "${make[@]}" --out "$data"
}

cell() { # PART REWARD
  local part=$1 reward=$2
  local result=$results/$part-seed-$seed-$reward base=$out/$part-seed-$seed run=$out/$part-seed-$seed-$reward
  place "$part"
  "$out/gr2" train sft --data "$data" --out "$base" --preset $preset -c "$config" --seed "$seed"
  if [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$base" "$run.part"
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$data" --out "$run" --preset $preset -c "$config" --seed "$seed" --set rl.reward="$reward" >"$run.txt"
  cp "$run/rl/state/metrics.jsonl" "$result.metrics.jsonl"
  "$out/gr2" eval --run "$run" --json >"$result.part"
  mv "$result.part" "$result.json"
  experiments/made.sh $results "$part-seed-$seed-$reward"
}

for seed in ${SEEDS:-1 2 3}; do
  for part in $parts; do
    for reward in naive a b c; do cell "$part" "$reward"; done
    runs=$out/$part-seed-$seed
    "$out/gr2" report --run "$runs-naive" --beside "$runs-a" --beside "$runs-b" --beside "$runs-c" --out "$runs.html"
  done
done
go run ./experiments/reward_hacking
cat "$results/table.txt"
