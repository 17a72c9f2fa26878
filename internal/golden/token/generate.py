"""Writes the reference ids that internal/token and internal/prompt compare themselves against.

    go test ./internal/token -run TestGolden -update     writes ours.json first
    python3 generate.py                                  writes all other files, here

The texts are encoded by Hugging Face's tokenizers library with
add_special_tokens=False, by ours.json and by tokenizers that the library
itself trained and saved in the layouts of Llama 3, Qwen 2 and SmolLM.

Made with Python 3.11, tokenizers 0.23.3, Jinja2 3.1.6.
"""
import json
import pathlib
import random

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s_a_1>", "<s_a_10>"]

TEXTS = [
    "",
    "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce",
    "L'Oréal Paris | L&#39;Oréal | Shampoo, 12.6 fl oz (2 Pack)",
    "資生堂マキアージュ ドラマティック 30ml 日本製です。 한국 화장품 2종",
    "😀👩‍👩‍👧 🇯🇵 ☕️ nail💅polish",
    "I'll we'VE it'S 'tis don't it'ſ 'ſab x'ſy O'Reilly's 'RE 'Ll'D'M",
    "1 12 123 1234 12345 3.14 1,000,000 ½ ² Ⅷ ٣٤ 10 50",
    "  two  three   \t tabs\t\tend   ",
    "line\nline\r\n\r\n  indented\n \n\n",
    "a\u00a0b\u2003c\u3000d\u0085e\u200bf\ufefeg",
    "cafe\u0301 caf\u00e9 \u0301x Å Å हिन्दी ไทย العربية עברית",
    "!!!\n\n??? ...\r\n --- <<>> {}[]() \"quoted\" `code` $5.00 100% #tag @user",
    '{"ranking":[10,2,50,1]}',
    "<|im_start|>system\nRank.<|im_end|>\n<|im_start|>user\n<s_a_1><s_a_10> x<s_a_100><|im_end|>\n",
    "<|im_end|><|im_end|> <|im_endx|> <|endoftext|><s_a_1",
    "\x00\x01\x1c\x1f\x7f control",
    "Ünïcödé ÀÉ ß ẞ ǅ ﬁ ﬀ ŉ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
]
ALPHABET = list("aAbzsStTrReEvVmMlLdDſéßπЖ日本ह्いก09٣½Ⅷ²  \u00a0\t\v\f\n\r\u0085\u2003\u3000'’.,!?-_<|>{}[]\":/#&+€🙂👩\u200d\u200b\u0301\ufffd\x00\x1c\x7f")


def texts():
    draw = random.Random(1)
    drawn = ["".join(draw.choices(ALPHABET, k=draw.randint(1, 24))) for _ in range(250)]
    for i in range(0, len(drawn), 10):
        drawn[i] += draw.choice(SPECIAL) + drawn[i + 1]
    return TEXTS + drawn


def train(pre, corpus, normalizer=None, post=None, ignore_merges=False):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizer, pre, decoders.ByteLevel()
    tok.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    tok.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    if post:
        tok.post_processor = post(tok)
    return tok


def split(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def without_half_of_the_merges(name):
    """Tokens that no merge reaches are found only because of ignore_merges."""
    file = json.loads((HERE / name).read_text())
    del file["model"]["merges"][len(file["model"]["merges"]) // 2:]
    write(name, file)
    return Tokenizer.from_file(str(HERE / name))


def bos(tok):
    return processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tok.token_to_id("<|endoftext|>"))])


def main():
    corpus = texts()
    files = {
        "llama3.json": train(split(LLAMA3), corpus, post=bos, ignore_merges=True),
        "qwen2.json": train(split(QWEN2), corpus, normalizer=normalizers.NFC()),
        "smollm.json": train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), corpus),
        "gpt2.json": train(pre_tokenizers.ByteLevel(add_prefix_space=False), corpus, post=lambda _: processors.ByteLevel(trim_offsets=False)),
    }
    for name, tok in files.items():
        tok.save(str(HERE / name), pretty=False)
    files["llama3.json"] = without_half_of_the_merges("llama3.json")
    files["ours.json"] = Tokenizer.from_file(str(HERE / "ours.json"))
    ids = {name: [tok.encode(t, add_special_tokens=False).ids for t in corpus] for name, tok in files.items()}
    for name, tok in files.items():
        if name != "qwen2.json":  # NFC changes texts
            for text, encoded in zip(corpus, ids[name]):
                assert tok.decode(encoded, skip_special_tokens=False) == text, (name, text)
    # chunks in the byte alphabet, of the first texts (NFC is not part of this step)
    chunks = {name: [[c for c, _ in tok.pre_tokenizer.pre_tokenize_str(t)] for t in TEXTS] for name, tok in files.items()}
    write("golden.json", {"texts": corpus, "ids": dict(sorted(ids.items())), "chunks": dict(sorted(chunks.items()))})

    messages = [{"role": "system", "content": "Rank."}, {"role": "user", "content": "History:\n a\n"}]
    template = (HERE / "../../prompt/templates/chat.jinja").read_text()
    # transformers renders chat templates with these two settings
    rendered = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template).render(messages=messages, add_generation_prompt=True)
    write("chat.json", {"template": template, "messages": messages, "rendered": rendered})


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
