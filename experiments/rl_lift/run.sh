#!/usr/bin/env bash
# What reinforcement learning adds: the incoming order, SFT (in the report of rl-from-sft), RL from SFT, SFT and RL where trees and not linear controls teach SFT
# (rl-from-trees), and RL from mid-training, all read by the ranking they write, with
# three seeds (or those in SEEDS), on the synthetic market, Amazon Beauty and Sports, and Beauty under a global time split (or those in
# DATASETS). SFT learns from a teacher alone; sft-labels learns from labels after it, of about as many slates as
# rl-from-sft has rewards of: what they are worth without RL. A seed draws the run, and the market with it.
# CELLS names some of the cells. FOLDER keeps the runs, and gr2 goes on where they were, or with what a changed setting touches; a new FOLDER begins anew. What is put
# together, and the table, is of the seeds 1 2 3. RL by trees is compared with the cell rl-group-4 of attribution.sh: for that, run attribution.sh
# with CELLS=rl-group-4 between rl-from-sft and rl-from-trees.
# Usage: [GR2_DATA=...] experiments/rl_lift/run.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/rl_lift}
case ${DATASETS:-beauty} in *beauty* | *sports*) : "${GR2_DATA:?names the folder of the data sets (README.md)}" ;; esac
results=experiments/rl_lift
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2

# place DATASET: the folder of its data, made if need be.
place() {
  case $1 in
    market) data=$out/market-$seed make=(data synth --users 6000 --seed "$seed") ;;
    beauty | beauty-time) data=$out/beauty make=(data import amazon --name amazon-beauty --reviews "$GR2_DATA/amazon_beauty/Beauty_5.json.gz" --meta "$GR2_DATA/amazon_beauty/meta_Beauty.json.gz") ;;
    sports) data=$out/sports make=(data import amazon --name amazon-sports --reviews "$GR2_DATA/amazon_sports/Sports_and_Outdoors_5.json.gz" --meta "$GR2_DATA/amazon_sports/meta_Sports_and_Outdoors.json.gz") ;;
    *) echo "no data set $1: use market, beauty, sports or beauty-time" >&2; exit 2 ;;
  esac
  [ -f "$data/manifest.json" ] || "$out/gr2" "${make[@]}" --out "$data"
}

# base DATASET: the stages that all cells of the seed share, up to SFT.
base() {
  run=$out/$1-$seed-sft
  "$out/gr2" train sft --data "$data" --out "$run" --preset $preset -c "$config" --seed "$seed" ${protocol[@]+"${protocol[@]}"}
}

# cell DATASET NAME SETTINGS...: one run, on these stages.
cell() {
  local dataset=$1 name=$2 preset=small config=$results/amazon.yaml protocol=()
  local result=$results/$dataset-seed-$seed-$name.json run
  shift 2
  case $dataset in
    market) preset=nano config=$results/market.yaml ;;
    beauty-time) protocol=(--set data.protocol=time) ;;
  esac
  place "$dataset"
  base "$dataset"
  run=$out/$dataset-$seed-$name
  if [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$out/$dataset-$seed-sft" "$run.part"
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$data" --out "$run" --preset $preset -c "$config" --seed "$seed" ${protocol[@]+"${protocol[@]}"} "$@" >"$run.txt"
  "$out/gr2" eval --run "$run" --json >"$result.part"
  if [ -d "$run/rl" ]; then cp "$run/rl/state/metrics.jsonl" "${result%.json}.metrics.jsonl"; fi
  mv "$result.part" "$result"
  experiments/made.sh $results "$dataset-seed-$seed-$name"
}

# combined FILE FLAGS...: the runs of all seeds together, over the linear control, over that on what prompts show and over the untrained fusion.
combined() {
  local file=$1
  shift
  "$out/gr2" eval "$@" >"$file.txt"
  "$out/gr2" eval "$@" --over control/rrf-knn-title >"$file-fusion.txt"
  "$out/gr2" eval "$@" --over control/linear-shown --json >"$file-shown.json.part"
  "$out/gr2" eval "$@" --json >"$file.json.part"
  mv "$file-shown.json.part" "$file-shown.json"
  mv "$file.json.part" "$file.json"
}

# over_labels DATASET: RL, which learns from rewards, over the SFT that learns from labels in its place.
over_labels() {
  local runs=() seed
  for seed in 1 2 3; do
    if [ ! -f "$out/$1-$seed-rl-from-sft/report.json" ] || [ ! -f "$out/$1-$seed-sft-labels/report.json" ]; then return; fi
    runs+=(--run "$out/$1-$seed-rl-from-sft" --against "$out/$1-$seed-sft-labels")
  done
  "$out/gr2" eval "${runs[@]}" --json >"$results/$1-rl-over-labels.json.part"
  mv "$results/$1-rl-over-labels.json.part" "$results/$1-rl-over-labels.json"
  experiments/made.sh $results "$1-rl-over-labels"
}

for dataset in ${DATASETS:-market beauty sports beauty-time}; do
  for name in ${CELLS:-rl-from-sft rl-from-trees rl-from-midtrain sft-labels}; do
    steps=375 epochs=2
    if [ "$dataset" = market ]; then steps=200 epochs=12; fi
    case $name in
      rl-from-sft) settings=(--set rl.steps=$steps) ;;
      rl-from-trees) settings=(--set rl.steps=$steps --set rl.group=4 --set sft.teacher_trees=true) ;;
      rl-from-midtrain) settings=(--set rl.steps=$steps --set rl.group=4 --set rl.from=midtrain --set rl.lr=0.001 --set rl.kl=0 --set rl.temperature=1) ;;
      sft-labels) settings=(--set sft.epochs=$epochs) ;;
      *) echo "no cell $name: use rl-from-sft, rl-from-trees, rl-from-midtrain or sft-labels" >&2; exit 2 ;;
    esac
    runs=()
    for seed in ${SEEDS:-1 2 3}; do
      cell "$dataset" "$name" "${settings[@]}"
      runs+=(--run "$out/$dataset-$seed-$name")
      case $name in rl-from-trees) other=rl-group-4 ;; sft-labels) other=rl-from-sft ;; *) other= ;; esac # rl-group-4 is a cell of attribution.sh
      if [ -n "$other" ] && [ -d "$out/$dataset-$seed-$other" ]; then runs+=(--against "$out/$dataset-$seed-$other"); fi
    done
    if [ "${SEEDS:-1 2 3}" = "1 2 3" ]; then
      combined "$results/$dataset-$name" "${runs[@]}"
      case $name in rl-from-sft | sft-labels) over_labels "$dataset" ;; esac
    fi
  done
done
go run ./experiments/rl_lift
