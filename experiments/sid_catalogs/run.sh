#!/usr/bin/env bash
# Uniqueness of the chosen tokenizer on the synthetic market, MovieLens, Amazon Beauty and Sports, and what 5% of the items do that
# are left out of the fit and come later: one JSON object a data set.
# Usage: GR2_DATA=... experiments/sid_catalogs/run.sh [FOLDER]; five minutes on 2 cores.
set -euo pipefail
: "${GR2_DATA:?points at the public data sets}"
cd "$(dirname "$0")/../.."
out=${1:-runs/sid_catalogs} results=experiments/sid_catalogs
mkdir -p "$out"
go build -o "$out/gr2" ./cmd/gr2
go build -o "$out/sid_catalogs" ./experiments/sid_catalogs
have() { [ -f "$out/$1/manifest.json" ]; }
have synthetic || "$out/gr2" data synth --seed 1 --out "$out/synthetic"
have movielens || "$out/gr2" data import movielens --name movielens --out "$out/movielens" --ratings "$GR2_DATA/movielens_latest_small/ratings.csv" --movies "$GR2_DATA/movielens_latest_small/movies.csv"
amazon() { # NAME REVIEWS META
  have "$1" || "$out/gr2" data import amazon --name "amazon-$1" --out "$out/$1" --reviews "$GR2_DATA/$2" --meta "$GR2_DATA/$3"
}
amazon beauty amazon_beauty/Beauty_5.json.gz amazon_beauty/meta_Beauty.json.gz
amazon sports amazon_sports/Sports_and_Outdoors_5.json.gz amazon_sports/meta_Sports_and_Outdoors.json.gz
for set in synthetic movielens beauty sports; do
  have "$set-fewer" || "$out/sid_catalogs" -data "$out/$set" -out "$out/$set-fewer"
  for part in "" -fewer; do
    [ -f "$out/sid$part-$set/sid/index.sid" ] || "$out/gr2" sid build --data "$out/$set$part" --out "$out/sid$part-$set" --set sid.method=rqvae
  done
  rm -rf "$out/sid-grown-$set"
  "$out/gr2" sid encode --run "$out/sid-fewer-$set" --data "$out/$set" --out "$out/sid-grown-$set"
  "$out/sid_catalogs" -full "$out/sid-$set" -before "$out/sid-fewer-$set" -after "$out/sid-grown-$set" >"$results/$set.json"
done
{ git rev-parse HEAD; go version; grep -m1 'model name' /proc/cpuinfo || true; nproc; date -u +%F; } >"$results/made.txt"
