"""Writes the reference vectors that internal/embed/encoder compares itself against.

Two tiny random sentence encoders, as sentence-transformers lays them out: one in
the manner of Qwen3-Embedding (class without a head, last token after an end
token, a default prompt, a short limit), one of Llama with a head, a first token
and the mean of states. golden.json has texts and, for each encoder, the unit
vectors by transformers' own AutoModel in float64, text by text, pooled as
sentence-transformers pools.

    python3 generate.py        writes here

Made with torch 2.15.0, transformers 5.24.0, tokenizers 0.23.3.
"""
import json
import pathlib

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3Model

HERE = pathlib.Path(__file__).parent
TOKENIZERS = HERE.parent / "token"
SHAPE = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=700, attn_implementation="eager", bos_token_id=None, eos_token_id=None)
TEXTS = [
    "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce",
    "Shampoo",
    "a",
    "L'Oréal Paris shampoo, 12.6 fl oz (2 Pack) 資生堂マキアージュ cafe\u0301 日本製です",
    "  two  spaces\nand a line ",
    "nail polish " * 6,
    "hand cream with shea butter, " * 40,
]


def post(before, after, vocab):
    names = before + after
    special = lambda n: {"SpecialToken": {"id": n, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        {"type": "TemplateProcessing", "single": [*map(special, before), text, *map(special, after)],
         "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {n: {"id": n, "ids": [vocab[n]], "tokens": [n]} for n in names}}]}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, indent=1) + "\n")


def save(name, model, dtype, tokenizer, before, after, pooling, limit, prompts, default):
    out = HERE / name
    with torch.no_grad():
        for parameter, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (0.25 if p.dim() == 2 else 0.3) + (1.0 if parameter.endswith("norm.weight") else 0.0))
    model.to(dtype).save_pretrained(out)
    file = json.loads((TOKENIZERS / tokenizer).read_text())
    vocab = Tokenizer.from_str(json.dumps(file)).get_vocab()
    file["post_processor"] = post(before, after, vocab)
    (out / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=True, separators=(",", ":")) + "\n")
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(out / "modules.json", [{"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t}
                                 for i, (p, t) in enumerate(modules)])
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    write(out / "1_Pooling/config.json", {"word_embedding_dimension": SHAPE["hidden_size"],
                                          **{"pooling_mode_" + m: m == pooling for m in modes}, "include_prompt": True})
    write(out / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    write(out / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "cosine"})


def vectors(name):
    """What SentenceTransformer(name).encode(TEXTS, normalize_embeddings=True) does, in float64."""
    out = HERE / name
    model = AutoModel.from_pretrained(out, attn_implementation="eager", dtype=torch.float32).double().eval()
    tok = Tokenizer.from_file(str(out / "tokenizer.json"))
    tok.enable_truncation(json.loads((out / "sentence_bert_config.json").read_text())["max_seq_length"])
    settings = json.loads((out / "config_sentence_transformers.json").read_text())
    prompt = settings["prompts"].get(settings["default_prompt_name"], "")
    mean = json.loads((out / "1_Pooling/config.json").read_text())["pooling_mode_mean_tokens"]
    rows = []
    for text in TEXTS:
        ids = torch.tensor([tok.encode((prompt + text).strip(), add_special_tokens=True).ids])
        with torch.no_grad():
            states = model(ids).last_hidden_state[0]
        rows.append(torch.nn.functional.normalize(states.mean(0) if mean else states[-1], dim=0).tolist())
    return rows


def main():
    torch.manual_seed(4)
    size = lambda tokenizer: Tokenizer.from_file(str(TOKENIZERS / tokenizer)).get_vocab_size()
    qwen = Qwen3Model(Qwen3Config(**SHAPE, vocab_size=size("qwen2.json") + 3, head_dim=8, rope_parameters=dict(rope_type="default", rope_theta=1e6),
                                  tie_word_embeddings=True))
    save("qwen3", qwen, torch.bfloat16, "qwen2.json", [], ["<|endoftext|>"], "lasttoken", 64,
         {"query": "Instruct: find the item\nQuery: ", "document": ""}, "query")
    llama = LlamaForCausalLM(LlamaConfig(**SHAPE, vocab_size=size("llama3.json"), head_dim=4, rope_parameters=dict(rope_type="default", rope_theta=1e4),
                                         tie_word_embeddings=False))
    save("llama", llama, torch.float32, "llama3.json", ["<|im_start|>"], ["<|im_end|>", "<|endoftext|>"], "mean_tokens", 512, {}, None)
    write(HERE / "golden.json", {"texts": TEXTS, "vectors": {name: vectors(name) for name in ("qwen3", "llama")}})


if __name__ == "__main__":
    main()
