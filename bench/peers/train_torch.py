"""PyTorch's training step of a Llama decoder, for bench/: one JSON line of seconds per step.

Tuned fairly: one fused projection for q, k and v and one for gate and up, scaled_dot_product_attention,
fused AdamW, gradients set to None, and torch.compile where --compile asks for it.
"""
import argparse
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


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
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.n2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    lo, hi = x.chunk(2, dim=-1)
    return torch.cat((lo * cos - hi * sin, hi * cos + lo * sin), dim=-1)


class Decoder(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.embed = nn.Embedding(a.vocab, a.hidden)
        self.blocks = nn.ModuleList(Block(a.hidden, a.heads, a.inner) for _ in range(a.layers))
        self.norm = nn.RMSNorm(a.hidden, eps=1e-6)
        half = a.hidden // a.heads // 2
        angle = torch.outer(torch.arange(a.seq).float(), 10000 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x[:, :-1]), self.embed.weight)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def main():
    p = argparse.ArgumentParser()
    for name in ("hidden", "layers", "heads", "inner", "vocab", "batch", "seq", "steps", "threads"):
        p.add_argument("--" + name, type=int, required=True)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = Decoder(a)
    step = torch.compile(model) if a.compile else model
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for i in range(a.steps + 2):  # two to warm up, and to compile
        ids = torch.randint(a.vocab, (a.batch, a.seq))
        start = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            loss = step(ids)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        if i >= 2:
            seconds.append(time.perf_counter() - start)
    parameters = sum(x.numel() for x in model.parameters())
    print(json.dumps({"seconds": seconds, "loss": loss.item(), "parameters": parameters, "version": torch.__version__}))


main()
