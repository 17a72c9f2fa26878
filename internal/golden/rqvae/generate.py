"""Writes golden.safetensors, which internal/sid/rqvae compares itself against: one
training loss of a tiny RQ-VAE with every term, and the gradient of every parameter,
by PyTorch's autograd in float64.

    python3 generate.py OUT

Made with torch 2.15.0, safetensors 0.8.0.
"""
import os
import sys

import torch
from safetensors.torch import save_file

ROWS, DIM, HIDDEN, LATENT, LEVELS, WIDTH = 7, 5, 6, 4, 2, 4
BETA, DIVERSITY, CONTRASTIVE, TEMPERATURE = 0.25, 0.7, 1.3, 0.4
# Anchors and partners. Item 1 is the anchor of one pair and the partner of another, item 3 the partner of two.
ANCHORS, PARTNERS = [0, 1, 2, 5], [3, 3, 1, 6]


def mlp(p, name, x):
    for i in range(2):
        x = x @ p[f"{name}.{i}.weight"].T + p[f"{name}.{i}.bias"]
        x = torch.relu(x) if i == 0 else x
    return x


def quantise(p, z):
    """The sum of the codes, and the codebook, commitment and diversity losses."""
    residual, total = z, 0
    losses = {"codebook": 0, "commitment": 0, "diversity": 0}
    for level in range(LEVELS):
        codes = p[f"codebook.{level}"]
        distance = (residual[:, None, :] - codes[None]).pow(2).sum(-1)
        q = codes[distance.argmin(1)]
        losses["codebook"] += (residual.detach() - q).pow(2).sum(1).mean()
        losses["commitment"] += (residual - q.detach()).pow(2).sum(1).mean()
        losses["diversity"] += WIDTH * torch.softmax(-distance, 1).mean(0).pow(2).sum()
        total = total + q
        residual = residual - q.detach()
    return total, losses


def info_nce(p, x):
    unit = torch.nn.functional.normalize(mlp(p, "encoder", x), dim=1)
    total = 0
    for i, (a, b) in enumerate(zip(ANCHORS, PARTNERS)):
        negatives = [c for j, c in enumerate(PARTNERS) if j != i and c not in (a, b)]
        scores = unit[[b] + negatives] @ unit[a] / TEMPERATURE
        total = total - torch.log_softmax(scores, 0)[0]
    return total / len(ANCHORS)


def main(out):
    torch.manual_seed(4)
    shapes = {"encoder": (DIM, HIDDEN, LATENT), "decoder": (LATENT, HIDDEN, DIM)}
    p = {f"codebook.{level}": torch.randn(WIDTH, LATENT) for level in range(LEVELS)}
    for name, sizes in shapes.items():
        for i in range(2):
            p[f"{name}.{i}.weight"] = torch.randn(sizes[i + 1], sizes[i]) * 0.6
            p[f"{name}.{i}.bias"] = torch.randn(1, sizes[i + 1]) * 0.3
    x = torch.randn(ROWS, DIM)
    golden = {"x": x, **{k: v.clone() for k, v in p.items()}}
    p = {k: v.double().requires_grad_() for k, v in p.items()}
    x = x.double()
    x = x - x.mean(0)
    x = x / x.pow(2).mean().sqrt()

    z = mlp(p, "encoder", x)
    total, losses = quantise(p, z)
    decoded = mlp(p, "decoder", z + (total - z).detach())
    losses["reconstruction"] = (x - decoded).pow(2).sum(1).mean()
    losses["contrastive"] = info_nce(p, x)
    loss = losses["reconstruction"] + losses["codebook"] + BETA * losses["commitment"] \
        + DIVERSITY * losses["diversity"] + CONTRASTIVE * losses["contrastive"]
    loss.backward()
    golden["pairs"] = torch.tensor(ANCHORS + PARTNERS)
    golden["loss"] = loss.detach()[None]
    golden.update({"loss." + k: v.detach()[None] for k, v in losses.items()})
    golden.update({"grad." + k: v.grad for k, v in p.items()})
    save_file({k: v.float().contiguous() for k, v in golden.items()}, os.path.join(out, "golden.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
