"""A step of DAPO by Transformers and PyTorch, for bench/compare/peer.go, which has the protocol.

Answers come from the library's own generate(), as in TRL. In mode "generate" it reads the prompt of every
answer; in mode "prefix" a prompt is read once and its cache repeated for the group, which few programs do. The update
passes whole sequences, but only the answers through the vocabulary projection. Where there is one for the answers, the policy that
sampled them is the one that learns, and its log-probabilities are those of the pass itself; where there are several, a pass without gradient gets
them before the first, and one of the reference where there is a KL (all as TRL's GRPOTrainer does it). "compile" compiles these passes.
"""
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, DynamicCache, __version__

PREFIX, COMPILE = "prefix" in sys.argv[1:], "compile" in sys.argv[1:]
LOW, HIGH, BETA = 0.2, 0.28, 0.1
MICRO = 8  # sequences that pass the model at a time; more are slower here


def prepare(c):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(os.environ["BENCH_FILES"], dtype=torch.float32)
    learner = torch.compile(model, dynamic=False) if COMPILE else model
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    prompts = torch.randint(3, model.config.vocab_size, (c["Prompts"], c["Prompt"]))
    group, new, updates = c["Group"], c["New"], c["Updates"]
    frozen = AutoModelForCausalLM.from_pretrained(os.environ["BENCH_FILES"], dtype=torch.float32) if c["KL"] else None
    if COMPILE and frozen is not None:
        frozen = torch.compile(frozen, dynamic=False)
    repeated = prompts.repeat_interleave(group, 0)

    @torch.inference_mode()
    def rollout():
        model.eval()
        cache = None
        if PREFIX:
            cache = DynamicCache(config=model.config)
            model(input_ids=prompts[:, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.batch_repeat_interleave(group)
        return model.generate(repeated, attention_mask=torch.ones_like(repeated), past_key_values=cache, use_cache=True, do_sample=True,
                              temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=new, min_new_tokens=new, pad_token_id=0)

    def log_probs(of, part):
        logits = of(input_ids=part[:, :-1], use_cache=False, logits_to_keep=new).logits
        return -F.cross_entropy(logits.flatten(0, 1), part[:, -new:].flatten(), reduction="none").view(-1, new)

    @torch.no_grad()
    def fixed(of, sequences):
        return torch.cat([log_probs(of, part) for part in sequences.split(MICRO)])

    def update(sequences):
        model.train()
        sequences = sequences.clone()
        rewards = (sequences[:, -new:] % 2 == 0).float().mean(1).view(-1, group)
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, correction=0, keepdim=True) + 1e-6)
        advantages = advantages.view(-1, 1)
        old = fixed(learner, sequences) if updates > 1 else None
        anchor = fixed(frozen, sequences) if c["KL"] else None
        size = len(sequences) // updates
        for first in range(0, len(sequences), size):
            adam.zero_grad(set_to_none=True)
            for at in range(first, first + size, MICRO):
                rows = slice(at, min(at + MICRO, first + size))
                log_p, a = log_probs(learner, sequences[rows]), advantages[rows]
                ratio = torch.exp(log_p - (log_p.detach() if old is None else old[rows]))
                loss = -torch.minimum(ratio * a, ratio.clamp(1 - LOW, 1 + HIGH) * a)
                if anchor is not None:
                    d = anchor[rows] - log_p
                    loss = loss + BETA * (torch.exp(d) - d - 1)
                (loss.sum() / (size * new)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()

    if c["Part"] == "rollout":
        run = rollout
    elif c["Part"] == "update":
        held = rollout()
        run = lambda: update(held)
    else:
        run = lambda: update(rollout())
    run()
    return run


def answer(value):
    print(json.dumps(value), flush=True)


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
answer({"version": f"Transformers {__version__}, PyTorch {torch.__version__}, {' '.join(sys.argv[1:])}"})
run = None
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
