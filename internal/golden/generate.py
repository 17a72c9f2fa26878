"""Writes the reference vectors that internal/nn compares itself against.

For each architecture: a tiny random model saved by transformers' own
save_pretrained, and golden.safetensors with token ids, loss weights, logits, the
loss and the gradient of every parameter, computed by PyTorch in float64 (RMSNorm
and RoPE, as transformers wrote them, in float32).

    python3 generate.py OUT          writes OUT/llama, OUT/qwen2, OUT/qwen3
    python3 generate.py --check DIR  loads a model directory of ours and compares
                                     its logits with DIR/golden.safetensors

Made with torch 1.13.0a0 (Debian 12), transformers 4.51.3, safetensors 0.8.0.
"""
import os
import sys
import types

import torch

if not hasattr(torch, "compiler"):  # transformers 4.51 names what torch 1.13 lacks; eager attention uses none of it
    class Absent(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    def identity(*args, **kwargs):
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else lambda f: f

    for module in ("torch.distributed.tensor", "torch.distributed.tensor.parallel"):
        sys.modules[module] = Absent(module)
    torch.compiler = types.SimpleNamespace(disable=identity, is_compiling=lambda: False, allow_in_graph=identity)
    for dtype in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"):
        setattr(torch, dtype, object())

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

NORM = 7.0
SHAPE = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager",
             bos_token_id=1, eos_token_id=2)


def llama():
    # Untied head, grouped queries, Llama 3 rope scaling with all three bands in use, a head_dim of its own.
    scaling = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=16)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, head_dim=8, rope_theta=500.0, rope_scaling=scaling, rms_norm_eps=1e-5,
                                        tie_word_embeddings=False)), torch.float32, "10GB"


def qwen2():
    # Tied head, biases, several shards.
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE, rope_theta=10000.0, tie_word_embeddings=True)), torch.float16, "8KB"


def qwen3():
    # Norms of queries and keys, a head_dim of its own, bfloat16 weights.
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=8, rope_theta=1000.0, tie_word_embeddings=True)), torch.bfloat16, "10GB"


def generate(out, make):
    torch.manual_seed(20)
    model, dtype, shard = make()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (0.15 if p.dim() == 2 else 0.3) + (1.0 if name.endswith("norm.weight") else 0.0))
    model = model.to(dtype)
    model.save_pretrained(out, max_shard_size=shard)
    # Read back: casting the model has rounded its rotary frequencies as well.
    weights = {k: v.float() for k, v in model.state_dict().items()}
    model = make()[0]
    model.load_state_dict(weights)
    model = model.double().eval()
    tokens = torch.randint(0, SHAPE["vocab_size"], (1, 24))
    weights = torch.rand(23) * (torch.rand(23) > 0.3)
    logits = model(tokens).logits[0]
    nll = torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:], reduction="none")
    loss = (nll * weights).sum() / NORM
    loss.backward()
    golden = {"tokens": tokens[0].float(), "weights": weights.float(), "logits": logits.detach().float(),
              "loss": loss.detach().float()[None]}
    for name, p in model.named_parameters():
        golden["grad." + name] = p.grad.float()
    save_file(golden, os.path.join(out, "golden.safetensors"))


def check(folder):
    # Not from_pretrained, which needs a newer torch; these are its steps.
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager")
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as f:
        assert f.metadata() == {"format": "pt"}, f.metadata()
    keys = model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False)
    tied = ["lm_head.weight"] if model.config.tie_word_embeddings else []
    assert keys.missing_keys == tied and not keys.unexpected_keys, keys
    golden = load_file(os.path.join(folder, "golden.safetensors"))
    logits = model(golden["tokens"].long()[None]).logits[0]
    error = (logits - golden["logits"]).abs().max().item()
    print(type(model).__name__, "largest difference of a logit:", error)
    assert error < 1e-4


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        for architecture in (llama, qwen2, qwen3):
            generate(os.path.join(sys.argv[1], architecture.__name__), architecture)
