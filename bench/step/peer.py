"""A training step of a Llama decoder by PyTorch, for bench/compare/peer.go, which has the protocol.

Written as one would who knows PyTorch well: one projection for q, k and v and one for gate and up,
scaled_dot_product_attention, fused AdamW, gradients set to None, and torch.compile in mode "compile".
"""
import json
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODE, BF16 = sys.argv[1], "bf16" in sys.argv[2:]


class Block(nn.Module):
    def __init__(self, d, heads, inner):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.qkv, self.o = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.gate_up, self.down = nn.Linear(d, 2 * inner, bias=False), nn.Linear(inner, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.n2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    lo, hi = x.chunk(2, dim=-1)
    return torch.cat((lo * cos - hi * sin, hi * cos + lo * sin), dim=-1)


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c["Vocab"], c["Hidden"])
        self.blocks = nn.ModuleList(Block(c["Hidden"], c["Heads"], c["Inner"]) for _ in range(c["Layers"]))
        self.norm = nn.RMSNorm(c["Hidden"], eps=1e-6)
        half = c["Hidden"] // c["Heads"] // 2
        angle = torch.outer(torch.arange(c["Length"]).float(), 10000 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x[:, :-1]), self.embed.weight)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def prepare(c):
    torch.manual_seed(1)
    model = Decoder(c)
    loss = torch.compile(model) if MODE == "compile" else model
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(c["Vocab"], (c["Batch"], c["Length"]))

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            out = loss(ids)
        out.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()

    step()
    step()
    return step


def answer(value):
    print(json.dumps(value), flush=True)


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
answer({"version": f"PyTorch {torch.__version__}, {MODE}" + (", bf16 autocast" if BF16 else "")})
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
