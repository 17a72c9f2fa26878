"""Writes the GGUF files that internal/lm compares itself against, by the reference implementation.

    python3 generate.py        writes all files, here; needs numpy and gguf

quants.gguf: for each type a tensor TYPE and TYPE.want, what gguf's own code makes
of it as F32; and source, of which F16 and Q8_0 are the quantised forms.
llama.gguf, qwen2.gguf, qwen3.gguf: the models of ../llama, ../qwen2 and ../qwen3 in
the types they have there, with names, keys and row order of llama.cpp's
convert_hf_to_gguf.py.

Made with Python 3.11, numpy 2.4.6, gguf 0.19.0.
"""
import json
import math
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants

HERE = pathlib.Path(__file__).parent
COLS = 256


def random_blocks(draw, kind, scales):
    """Two rows of random bits; the float16 scales at the given places are finite."""
    block, size = {Type.Q4_K: (256, 144), Type.Q6_K: (256, 210)}[kind]
    rows = draw.integers(0, 256, (2, COLS // block, size), dtype=np.uint8)
    for at in scales:
        rows[:, :, at:at + 2] = draw.normal(0, 0.1, rows.shape[:2] + (1,)).astype(np.float16).view(np.uint8)
    return rows.reshape(2, -1)


def write_quants():
    draw = np.random.default_rng(20)
    source = draw.normal(0, 1, (4, COLS)).astype(np.float32)
    source[0, :32] = 0  # a block without a scale
    source[1, :32] *= 1e-6  # float16 scales below the normal ones
    source[2] *= 100
    source[3, :32] = np.arange(32) - 16.5
    source[3, 0] = 127  # so the scale is 1, and the others are ties
    w = GGUFWriter(HERE / "quants.gguf", "none")
    w.add_tensor("source", source)
    raw = {kind: quants.quantize(source, kind) for kind in (Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0)}
    raw[Type.Q4_K] = random_blocks(draw, Type.Q4_K, (0, 2))
    raw[Type.Q6_K] = random_blocks(draw, Type.Q6_K, (208,))
    for kind, data in raw.items():
        w.add_tensor(kind.name, data, raw_dtype=kind)
        w.add_tensor(kind.name + ".want", quants.dequantize(data, kind).astype(np.float32))
    finish(w)


def load_safetensors(folder):
    """Every tensor as (type, bytes of each row), without a library: numpy has no bfloat16."""
    kinds = {"F32": (Type.F32, np.float32), "F16": (Type.F16, np.float16), "BF16": (Type.BF16, np.uint16)}
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                kind, dtype = kinds[entry["dtype"]]
                tensors[name] = kind, np.frombuffer(data[8 + size + begin:8 + size + end], dtype).reshape(entry["shape"])
    return tensors


NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def ggml_name(name):
    stem, suffix = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{PARTS[part]}.{suffix}"
    return f"{NAMES[stem]}.{suffix}"


def permute(weights, heads):  # LlamaModel.permute of the converter
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def rope_factors(config):  # LlamaModel.generate_extra_tensors
    scaling, dim = config["rope_scaling"], config["head_dim"]
    freqs = 1.0 / (config["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float32) / dim))
    low = scaling["original_max_position_embeddings"] / scaling["low_freq_factor"]
    high = scaling["original_max_position_embeddings"] / scaling["high_freq_factor"]
    factors = []
    for freq in freqs:
        wavelen = 2 * math.pi / freq
        if wavelen < high:
            factors.append(1)
        elif wavelen > low:
            factors.append(scaling["factor"])
        else:
            smooth = (scaling["original_max_position_embeddings"] / wavelen - scaling["low_freq_factor"]) / (
                scaling["high_freq_factor"] - scaling["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_model(arch):
    folder = HERE.parent / arch
    c = json.loads((folder / "config.json").read_text())
    w = GGUFWriter(HERE / f"{arch}.gguf", arch)
    w.add_name(arch)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if "head_dim" in c:
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
    if arch == "llama":
        w.add_vocab_size(c["vocab_size"])
        w.add_rope_dimension_count(c["head_dim"])
    w.add_bos_token_id(c["bos_token_id"])
    w.add_eos_token_id(c["eos_token_id"])
    if c.get("rope_scaling"):
        w.add_tensor("rope_freqs.weight", rope_factors(c))
    for name, (kind, data) in load_safetensors(folder).items():
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            data = permute(data, c["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        data = np.ascontiguousarray(data)
        w.add_tensor(ggml_name(name), data.view(np.uint8), raw_dtype=kind)
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    write_quants()
    for arch in ("llama", "qwen2", "qwen3"):
        write_model(arch)
