#!/usr/bin/env bash
# The demo as the README shows it. Usage: experiments/demo/run.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/demo}
go run ./cmd/gr2 demo --out "$out" | sed "s|^$out/|runs/demo/|" | tee experiments/demo/table.txt
cp "$out/report.json" experiments/demo/result.json
cp "$out/config.yaml" experiments/demo/config.yaml
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } > experiments/demo/made.txt 2>/dev/null
