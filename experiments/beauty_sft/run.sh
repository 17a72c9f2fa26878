#!/usr/bin/env bash
# Amazon Beauty from import to report: three incoming orders, controls, SFT, three seeds.
# Usage: GR2_DATA=... experiments/beauty_sft/run.sh [FOLDER]; about an hour on 2 cores.
: "${GR2_DATA:?points at the public data sets}"
exec "$(dirname "$0")/../seeds.sh" beauty_sft "${1:-runs/beauty_sft}" amazon --name amazon-beauty \
  --reviews "$GR2_DATA/amazon_beauty/Beauty_5.json.gz" --meta "$GR2_DATA/amazon_beauty/meta_Beauty.json.gz" -- --preset small
