#!/usr/bin/env bash
# Amazon Sports and Outdoors as experiments/beauty_sft does Beauty, nothing tuned again.
# Usage: GR2_DATA=... experiments/sports_sft/run.sh [FOLDER]; about an hour and a half on 2 cores.
: "${GR2_DATA:?points at the public data sets}"
exec "$(dirname "$0")/../seeds.sh" sports_sft "${1:-runs/sports_sft}" amazon --name amazon-sports \
  --reviews "$GR2_DATA/amazon_sports/Sports_and_Outdoors_5.json.gz" --meta "$GR2_DATA/amazon_sports/meta_Sports_and_Outdoors.json.gz" -- --preset small
