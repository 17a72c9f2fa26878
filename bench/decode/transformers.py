"""Greedy decoding by Transformers, for bench/compare/peer.go, which has the protocol.

A loop of one's own around the model, which is faster than generate(): inference mode, only the last
position through the vocabulary projection, a static cache whose end is moved back between repetitions,
and torch.compile of the step in mode "compile".
"""
import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, StaticCache, __version__

COMPILE = sys.argv[1] == "compile"


def prepare(c):
    torch.manual_seed(1)
    batch, length, new = c["Batch"], c["Prompt"], c["New"]
    prompts = torch.randint(3, model.config.vocab_size, (1 if c["Shared"] else batch, length)).expand(batch, length)
    cache = StaticCache(config=model.config, max_cache_len=length + new)
    places = [torch.tensor([at]) for at in range(length + new)]
    every = torch.arange(length)

    def rewind(to):
        # Also back to the end of the prompts: where the cache goes on is a state of its layers.
        for layer in cache.layers:
            if getattr(layer, "cumulative_length", None) is not None:
                layer.cumulative_length.fill_(to)

    def step(tokens, place):
        out = forward(input_ids=tokens, past_key_values=cache, position_ids=place[None], use_cache=True)
        return out.logits[:, -1].argmax(-1, keepdim=True)

    def read():
        rewind(0)
        out = model(input_ids=prompts, past_key_values=cache, position_ids=every[None], use_cache=True, logits_to_keep=1)
        return out.logits[:, -1].argmax(-1, keepdim=True)

    forward = torch.compile(model, dynamic=False) if COMPILE else model
    first = read()

    @torch.inference_mode()
    def run():
        token = first
        if c["Read"]:
            token = read()
        rewind(length)
        for at in range(length, length + new - 1):
            token = step(token, places[at])
        return step(token, places[length + new - 1])

    run()
    return run


def answer(value):
    print(json.dumps(value), flush=True)


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
model = AutoModelForCausalLM.from_pretrained(os.environ["BENCH_FILES"], dtype=torch.float32).eval()
answer({"version": f"Transformers {__version__}, PyTorch {torch.__version__}, {sys.argv[1]}"})
run = None
with torch.inference_mode():
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            run = prepare(request["case"])
            answer({})
            continue
        start = time.perf_counter()
        for _ in range(request["repeat"]):
            run()
        answer({"seconds": time.perf_counter() - start})
