#!/usr/bin/env bash
# Amazon Beauty from import to report: three incoming orders, controls, SFT.
# Usage: GR2_DATA=... experiments/beauty_sft/run.sh [FOLDER]; about an hour on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${GR2_DATA:?points at the public data sets}"
out=${1:-runs/beauty_sft}
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
"$out/gr2" data import amazon --name amazon-beauty --out "$out/data" \
  --reviews "$GR2_DATA/amazon_beauty/Beauty_5.json.gz" --meta "$GR2_DATA/amazon_beauty/meta_Beauty.json.gz"
"$out/gr2" run --data "$out/data" --out "$out/run" --preset small --seed 1
"$out/gr2" eval --run "$out/run" | tee experiments/beauty_sft/table.txt
cp "$out/run/report.json" experiments/beauty_sft/result.json
cp "$out/run/config.yaml" experiments/beauty_sft/config.yaml
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } > experiments/beauty_sft/made.txt 2>/dev/null
