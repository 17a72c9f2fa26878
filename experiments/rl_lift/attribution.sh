#!/usr/bin/env bash
# What moves the lift most, on Amazon Beauty or what DATASET names (sports, beauty-time): the runs of run.sh with one thing taken away, added or made another, three seeds.
# The cells are those of cells.txt, or some that CELLS names. Those that begin with sft differ before reinforcement learning, which they do without, those
# that begin with rl differ in it; both are compared with rl-from-sft, policy by policy, or with the cell that stands behind against=. Needs the run folders
# that run.sh left in FOLDER.
# Usage: GR2_DATA=... experiments/rl_lift/attribution.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/rl_lift}
dataset=${DATASET:-beauty}
case $dataset in
  beauty | sports) data=$out/$dataset protocol=() ;;
  beauty-time) data=$out/beauty protocol=(--set data.protocol=time) ;;
  *) echo "no data set $dataset: use beauty, sports or beauty-time" >&2; exit 2 ;;
esac
results=experiments/rl_lift
go build -o "$out/gr2" ./cmd/gr2

# line CELL: what stands behind its name.
line() {
  local line
  line=$(grep "^$1 " "$results/cells.txt") || { echo "no cell $1 in $results/cells.txt" >&2; return 2; }
  echo "${line#* }"
}

# settings CELL: what is set otherwise. against CELL: the cell it is compared with.
settings() { line "$1" | sed 's/against=[^ ]* *//'; }
against() { line "$1" | sed -n 's/.*against=\([^ ]*\).*/\1/p'; }

cell() { # CELL
  local run=$out/$dataset-$seed-$1 set=() changes
  changes=$(settings "$1")
  for change in $changes; do set+=(--set "$change"); done
  if [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$out/$dataset-$seed-sft" "$run.part"
    rm -rf "$run.part"/{rl,eval,report.json,report.html}
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$data" --out "$run" --preset small -c "$results/amazon.yaml" --seed "$seed" ${protocol[@]+"${protocol[@]}"} "${set[@]}" >"$run.txt"
}

for name in ${CELLS:-$(cut -d" " -f1 "$results/cells.txt")}; do
  runs=() other=$(against "$name")
  for seed in 1 2 3; do
    cell "$name"
    runs+=(--run "$out/$dataset-$seed-$name" --against "$out/$dataset-$seed-${other:-rl-from-sft}")
  done
  "$out/gr2" eval "${runs[@]}" --json >"$results/$dataset-$name.json.part"
  mv "$results/$dataset-$name.json.part" "$results/$dataset-$name.json"
  experiments/made.sh $results "$dataset-$name"
done
go run ./experiments/rl_lift
