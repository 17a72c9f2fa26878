#!/usr/bin/env bash
# Is the id-order probe's accusation on Beauty chance? The same split and seed under
# three numberings of the items: legacy rankers trained anew, their slates probed.
# Usage: GR2_DATA=... experiments/id_order/run.sh [FOLDER]; about 15 minutes on 2 cores.
set -euo pipefail
: "${GR2_DATA:?points at the public data sets}"
cd "$(dirname "$0")/../.."
out=${1:-runs/id_order} results=experiments/id_order
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
[ -f "$out/data/manifest.json" ] || "$out/gr2" data import amazon --name amazon-beauty --out "$out/data" \
  --reviews "$GR2_DATA/amazon_beauty/Beauty_5.json.gz" --meta "$GR2_DATA/amazon_beauty/meta_Beauty.json.gz"
for n in 1 2 3; do
  "$out/gr2" train baseline --data "$out/data" --out "$out/$n" --seed 1 --set data.numbering=$n \
    --set 'slates.orders=[sasrec, bpr]' --set slates.folds=2 --set slates.positions=1
  cp "$out/$n/baseline/measures.json" "$results/numbering-$n.json"
done
go run ./experiments/id_order >"$results/table.txt"
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
cat "$results/table.txt"
