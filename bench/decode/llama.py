"""Greedy decoding by llama.cpp, for bench/compare/peer.go, which has the protocol.

llama.cpp's C interface by ctypes (llama-cpp-python): one llama_decode a step for all sequences, the
most probable token by its own greedy sampler's rule. Between repetitions the cache is cut back to the prompts.
"""
import ctypes
import json
import os
import random
import sys
import time

import llama_cpp as ll
import numpy as np

THREADS = int(os.environ["OMP_NUM_THREADS"])


def quiet(level, text, data):
    if level >= 4 or b"error" in text:
        sys.stderr.write(text.decode(errors="replace"))


def context(c):
    params = ll.llama_context_default_params()
    params.n_seq_max = c["Batch"]
    params.n_ctx = c["Batch"] * (c["Prompt"] + c["New"])
    params.n_batch, params.n_ubatch = 2048, 512
    params.n_threads = params.n_threads_batch = THREADS
    params.kv_unified = c["Shared"]
    params.flash_attn_type = int(os.environ.get("LLAMA_FLASH_ATTN", "-1"))
    params.no_perf = True
    return ll.llama_init_from_model(model, params)


class Sequences:
    def __init__(self, c):
        self.c, self.ctx = c, context(c)
        self.memory = ll.llama_get_memory(self.ctx)
        self.batch = ll.llama_batch_init(2048, 0, 1)
        rand = random.Random(1)
        own = 1 if c["Shared"] else c["Batch"]
        self.prompts = [[rand.randrange(3, VOCAB) for _ in range(c["Prompt"])] for _ in range(own)]
        self.first = self.read()

    def put(self, at, token, pos, seq, wanted):
        b = self.batch
        b.token[at], b.pos[at], b.n_seq_id[at], b.logits[at] = token, pos, 1, wanted
        b.seq_id[at][0] = seq

    def decode(self, n):
        self.batch.n_tokens = n
        status = ll.llama_decode(self.ctx, self.batch)
        assert status == 0, status

    def best(self, row):
        logits = ll.llama_get_logits_ith(self.ctx, row)
        return int(np.ctypeslib.as_array(logits, shape=(VOCAB,)).argmax())

    def read(self):
        ll.llama_memory_clear(self.memory, False)
        first = []
        for seq, prompt in enumerate(self.prompts):
            for i, token in enumerate(prompt):
                self.put(i, token, i, seq, i == len(prompt) - 1)
            self.decode(len(prompt))
            first.append(self.best(len(prompt) - 1))
        for seq in range(len(self.prompts), self.c["Batch"]):
            ll.llama_memory_seq_cp(self.memory, 0, seq, -1, -1)
            first.append(first[0])
        return first

    def run(self):
        c = self.c
        tokens = self.read() if c["Read"] else self.first
        for seq in range(c["Batch"]):
            ll.llama_memory_seq_rm(self.memory, seq, c["Prompt"], -1)
        for pos in range(c["Prompt"], c["Prompt"] + c["New"]):
            for seq, token in enumerate(tokens):
                self.put(seq, token, pos, seq, True)
            self.decode(len(tokens))
            tokens = [self.best(row) for row in range(len(tokens))]

    def close(self):
        ll.llama_batch_free(self.batch)
        ll.llama_free(self.ctx)


def answer(value):
    print(json.dumps(value), flush=True)


log = ll.llama_log_callback(quiet)
ll.llama_log_set(log, ctypes.c_void_p(0))
ll.llama_backend_init()
params = ll.llama_model_default_params()
model = ll.llama_model_load_from_file(os.path.join(os.environ["BENCH_FILES"], sys.argv[1] + ".gguf").encode(), params)
VOCAB = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
answer({"version": f"llama.cpp of llama-cpp-python {ll.__version__}, {sys.argv[1]}"})
sequences = None
for line in sys.stdin:
    request = json.loads(line)
    if "case" in request:
        if sequences:
            sequences.close()
        sequences = Sequences(request["case"])
        answer({})
        continue
    start = time.perf_counter()
    for _ in range(request["repeat"]):
        sequences.run()
    answer({"seconds": time.perf_counter() - start})
