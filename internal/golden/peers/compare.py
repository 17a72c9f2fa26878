"""Compares what gr2 makes of a model with llama.cpp and with transformers; see run.sh.

    python3 compare.py llama DIR...         each GGUF file in DIR, read by llama-cpp-python
    python3 compare.py transformers DIR...  the Hugging Face directory itself

Ids must be equal. Logits may differ by the tolerances below, which are relative to
the largest logit. llama.cpp rounds what it multiplies with F16 and Q8_0 matrices to
the same type, gr2 computes in float32 with the weights as they stand in the file: so a
second comparison gives llama.cpp the same weights as F32, and is strict. How far
either is from the original model is printed for information.

Made with Python 3.11, llama-cpp-python 0.3.36, gguf 0.19.0; torch 2.15.0, transformers 5.24.0.
"""
import glob
import json
import os
import sys
import tempfile
import unicodedata

import numpy as np

TOLERANCE = {"f16.gguf": 5e-3, "q8_0.gguf": 1e-1, "": 1e-5}


def difference(logits, want):
    return np.abs(logits - want).max() / np.abs(want).max()


def report(name, logits, want, original, greedy, want_greedy):
    error, loss = difference(logits, want), difference(logits, original)
    same = next((i for i, (a, b) in enumerate(zip(greedy, want_greedy)) if a != b), len(want_greedy))
    agree = (logits.argmax(1) == want.argmax(1)).mean()
    print(f"  {name}: relative difference of logits {error:.2e} (to the float32 model {loss:.2e}), "
          f"largest logit {np.abs(want).max():.2f}, same argmax {agree:.4f} of {len(want)}, greedy: first {same} of {len(want_greedy)} tokens equal")
    assert error < TOLERANCE[os.path.basename(name)], f"{name}: logits differ"
    assert len(greedy) == len(want_greedy), f"{name}: generates {len(greedy)} tokens"
    return error


def widen(path, out):
    """Copies a GGUF file with all its tensors as F32, by gguf's own code."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter, quants

    reader = GGUFReader(path)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind, sub_type=field.types[-1] if kind == GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def open_llama(path):
    from llama_cpp import Llama

    # The cache in float32 (type 0), flash attention off: nothing but weights and activations is rounded.
    return Llama(path, n_ctx=1024, n_batch=512, logits_all=True, type_k=0, type_v=0, flash_attn=False, n_threads=2, verbose=False)


def read_logits(model, tokens):
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[:len(tokens)])


def compare_llama(folder, reference):
    for path in sorted(glob.glob(os.path.join(folder, "*.gguf"))):
        name = os.path.basename(path)
        want = reference["files"][name]
        model = open_llama(path)
        read = reference["read"]
        logits = read_logits(model, read)
        greedy = []
        model.reset()
        for token in model.generate(read, top_k=1, temp=0.0, repeat_penalty=1.0):
            greedy.append(token)
            if len(greedy) == len(want["greedy"]):
                break
        plain = np.array(want["logits"])
        report(name, logits, plain, np.array(reference["files"][""]["logits"]), greedy, want["greedy"])
        with tempfile.TemporaryDirectory() as temporary:
            wide = os.path.join(temporary, "wide.gguf")
            widen(path, wide)
            error = difference(read_logits(open_llama(wide), read), plain)
        print(f"  {name} with its weights as F32: relative difference of logits {error:.2e}")
        assert error < TOLERANCE[""], f"{name}: the weights or the computation differ"
        compare_tokenizer(name, folder, model, reference)


def compare_tokenizer(name, folder, model, reference):
    wrong = [t for t, ids in zip(reference["texts"], reference["ids"]) if model.tokenize(t.encode(), add_bos=False, special=True) != ids]
    print(f"  {name}: ids of {len(reference['texts']) - len(wrong)} of {len(reference['texts'])} texts equal")
    with open(os.path.join(folder, "tokenizer_config.json")) as f:
        assert model.metadata.get("tokenizer.chat_template") == json.load(f).get("chat_template"), "the chat template is another"
    with open(os.path.join(folder, "tokenizer.json")) as f:
        normalizer = json.load(f)["normalizer"]
    # Only NFC, which llama.cpp does not know, excuses other ids.
    wrong = [t for t in wrong if not normalizer or unicodedata.normalize("NFC", t) == t]
    assert not wrong, f"{name}: ids differ: {wrong}"


def compare_transformers(folder, reference):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    want = reference["files"][""]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        read = torch.tensor([reference["read"]])
        logits = model(read).logits[0].numpy()
        model.generation_config.eos_token_id = None  # go on behind the end
        greedy = model.generate(read, max_new_tokens=len(want["greedy"]), do_sample=False)[0, read.shape[1]:].tolist()
    plain = np.array(want["logits"])
    print(f"  {type(model).__name__}: largest difference of a logit {np.abs(logits - plain).max():.2e}")
    report("", logits, plain, plain, greedy, want["greedy"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, ids in zip(reference["texts"], reference["ids"]):
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text
    print(f"  {type(tokenizer).__name__}: ids of {len(reference['ids'])} texts equal")


if __name__ == "__main__":
    for folder in sys.argv[2:]:
        print(folder)
        with open(os.path.join(folder, "reference.json")) as f:
            reference = json.load(f)
        {"llama": compare_llama, "transformers": compare_transformers}[sys.argv[1]](folder, reference)
