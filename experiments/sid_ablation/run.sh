#!/usr/bin/env bash
# The tokenizer ablation: uniqueness of semantic IDs and the next-item model on them, on
# Amazon Beauty and Sports, three seeds. Cells that are in results/ are skipped.
# Usage: GR2_DATA=... experiments/sid_ablation/run.sh [FOLDER] [sid_ablation flags]
set -euo pipefail
: "${GR2_DATA:?points at the public data sets}"
cd "$(dirname "$0")/../.."
out=${1:-runs/sid_ablation} results=experiments/sid_ablation
shift $(($# > 0))
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
go build -o "$out/sid_ablation" ./experiments/sid_ablation
import() { # NAME REVIEWS META
  [ -f "$out/data/$1/manifest.json" ] || "$out/gr2" data import amazon --name "amazon-$1" --out "$out/data/$1" --reviews "$GR2_DATA/$2" --meta "$GR2_DATA/$3"
}
import beauty amazon_beauty/Beauty_5.json.gz amazon_beauty/meta_Beauty.json.gz
import sports amazon_sports/Sports_and_Outdoors_5.json.gz amazon_sports/meta_Sports_and_Outdoors.json.gz
"$out/sid_ablation" -data "$out/data" -work "$out/work" "$@"
"$out/sid_ablation" -table >"$results/table.md"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.md"
