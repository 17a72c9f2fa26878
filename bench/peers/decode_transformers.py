"""Transformers' greedy decoding of a Hugging Face directory, for bench/: one JSON line.

Seconds of generate() for the prompt with one new token, and for all of them: the difference is decoding.
"""
import argparse
import json
import time

import torch
import transformers


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    for name in ("batch", "prompt", "new", "repeats", "threads"):
        p.add_argument("--" + name, type=int, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    ids = torch.randint(model.config.vocab_size, (a.batch, a.prompt))
    mask = torch.ones_like(ids)

    def seconds(new):
        start = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, do_sample=False, min_new_tokens=new, max_new_tokens=new, pad_token_id=0)
        assert out.shape[1] == a.prompt + new
        return time.perf_counter() - start

    seconds(2)
    first = [seconds(1) for _ in range(a.repeats)]
    whole = [seconds(a.new) for _ in range(a.repeats)]
    print(json.dumps({"first": first, "whole": whole, "version": transformers.__version__ + ", torch " + torch.__version__}))


main()
