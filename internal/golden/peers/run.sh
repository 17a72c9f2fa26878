#!/usr/bin/env bash
# Compares gr2 with llama.cpp and transformers on models exported by gr2: token
# ids, logits, greedy continuations. Optional: it needs Python with
#   LLAMA_PYTHON         llama-cpp-python, gguf, numpy     (skips llama.cpp when not set)
#   TRANSFORMERS_PYTHON  torch, transformers         (skips transformers when not set)
#
#   run.sh OUT [MODEL...]   writes to OUT; MODEL are further Hugging Face directories,
#                           such as RUN/sft/model
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/gr2" ./cmd/gr2
go build -o "$work/peers" ./internal/golden/peers
"$work/peers" make "$out"
for model in "$@"; do
  copy="$out/trained-$(echo "${model#/}" | tr / -)"
  mkdir -p "$copy"
  cp "$model"/*.json "$model"/*.safetensors "$copy"
done
for dir in "$out"/*/; do
  dir=${dir%/}
  for type in f16 q8_0; do
    "$work/gr2" -q export gguf --model "$dir" --out "$dir/$type.gguf" --type "$type"
  done
  "$work/peers" reference "$dir"
  if [ -n "${LLAMA_PYTHON:-}" ]; then "$LLAMA_PYTHON" internal/golden/peers/compare.py llama "$dir"; fi
  if [ -n "${TRANSFORMERS_PYTHON:-}" ]; then "$TRANSFORMERS_PYTHON" internal/golden/peers/compare.py transformers "$dir"; fi
done
