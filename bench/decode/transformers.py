"""Greedy decoding by Transformers, for bench/compare/peer.go, which has the protocol.

Mode "generate" is the library's own generate() with its dynamic cache: what most programs call. Modes
"eager" and "compile" are a loop of one's own around the model, which is faster: only the last position
through the vocabulary projection, a static cache whose end is moved back between repetitions, and
torch.compile of the step in mode "compile". All run in inference mode.
"""
import copy
import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache, __version__

MODE = sys.argv[1]


def prepare(c):
    torch.manual_seed(1)
    batch, length, new = c["Batch"], c["Prompt"], c["New"]
    prompts = torch.randint(3, model.config.vocab_size, (1 if c["Shared"] else batch, length)).expand(batch, length)
    return (by_generate if MODE == "generate" else by_loop)(c, prompts, length, new)


def by_generate(c, prompts, length, new):
    read = DynamicCache(config=model.config)
    model(input_ids=prompts[:, :-1], past_key_values=read, use_cache=True, logits_to_keep=1)

    @torch.inference_mode()
    def run():
        # generate() reads what the cache has not: the last token of the prompts where they have been read.
        cache = None if c["Read"] else copy.deepcopy(read)
        model.generate(prompts, attention_mask=torch.ones_like(prompts), past_key_values=cache, use_cache=True,
                       do_sample=False, max_new_tokens=new, min_new_tokens=new, pad_token_id=0)

    run()
    return run


def by_loop(c, prompts, length, new):
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

    forward = torch.compile(model, dynamic=False) if MODE == "compile" else model
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
answer({"version": f"Transformers {__version__}, PyTorch {torch.__version__}, {MODE}"})
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
