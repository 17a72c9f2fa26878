#!/usr/bin/env bash
# What moves the lift most, on Amazon Beauty: the runs of run.sh with one thing taken away, added or made another, three seeds.
# CELLS names some of the cells. Those that begin with sft differ before reinforcement learning, which they do without, those
# that begin with rl differ in it; both are compared with rl-from-sft, policy by policy. Needs the run folders that run.sh left in FOLDER.
# Usage: GR2_DATA=... experiments/rl_lift/attribution.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/rl_lift}
results=experiments/rl_lift
go build -o "$out/gr2" ./cmd/gr2

settings() { # CELL: what is set otherwise
  case $1 in
    sft-no-evidence) echo prompt.evidence=false ;;
    sft-text) echo prompt.title=true prompt.brand=true prompt.history_max=6 ;;
    sft-no-score) echo "prompt.evidence_names=[co,coLast,coDay,titleDecay,titleLast,titleDay,recent30,pop,since,brand,next,catOverlap,catNext,age]" ;;
    sft-no-midtraining) echo midtrain.epochs=0 ;;
    sft-half-width) echo model.hidden=64 model.intermediate=176 ;;
    sft-double-width) echo model.hidden=256 model.heads=8 model.kv_heads=8 model.intermediate=704 ;;
    sft-fifth-of-slates) echo sft.user_share=0.2 ;;
    sft-fifth-five-times) echo sft.user_share=0.2 sft.epochs=5 sft.teacher_epochs=5 ;;
    sft-labels-alone) echo sft.teacher_epochs=0 sft.teacher_judges=false ;;
    sft-no-pointer) echo sft.pointer=false ;;
    rl-group-16) echo rl.steps=375 rl.group=16 ;;
    rl-naive) echo rl.steps=375 rl.reward=naive ;;
    rl-auc) echo rl.steps=375 rl.metric=auc ;;
    rl-credit-answer) echo rl.steps=375 rl.credit=answer ;;
    rl-no-kl) echo rl.steps=375 rl.kl=0 ;;
    rl-dr-grpo) echo rl.steps=375 rl.algorithm=dr-grpo rl.kl=0.015 ;;
    rl-last) echo rl.steps=375 rl.average=0 rl.floor=0.02 ;;
    rl-cold) echo rl.steps=375 rl.temperature=0.5 ;;
    *) echo "no cell $1" >&2; return 2 ;;
  esac
}

cell() { # CELL
  local run=$out/beauty-$seed-$1 set=() changes
  changes=$(settings "$1")
  for change in $changes; do set+=(--set "$change"); done
  if [ ! -d "$run" ]; then
    rm -rf "$run.part"
    cp -r "$out/beauty-$seed-sft" "$run.part"
    rm -rf "$run.part"/{rl,eval,report.json,report.html}
    mv "$run.part" "$run"
  fi
  "$out/gr2" run --data "$out/beauty" --out "$run" --preset small -c "$results/amazon.yaml" --seed "$seed" "${set[@]}" >"$run.txt"
}

for name in ${CELLS:-sft-no-evidence sft-text sft-no-score sft-no-midtraining sft-half-width sft-double-width sft-fifth-of-slates sft-fifth-five-times sft-labels-alone sft-no-pointer rl-group-16 rl-naive rl-auc rl-credit-answer rl-no-kl rl-dr-grpo rl-last rl-cold}; do
  runs=()
  for seed in 1 2 3; do
    cell "$name"
    runs+=(--run "$out/beauty-$seed-$name" --against "$out/beauty-$seed-rl-from-sft")
  done
  "$out/gr2" eval "${runs[@]}" --json >"$results/beauty-$name.json.part"
  mv "$results/beauty-$name.json.part" "$results/beauty-$name.json"
done
go run ./experiments/rl_lift
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made-attribution.txt"
