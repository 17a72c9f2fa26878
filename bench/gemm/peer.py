"""Matrix products by NumPy (OpenBLAS) or PyTorch (MKL), for bench/compare/peer.go, which has the protocol.

Operands are stored as gr2 stores them; a transposed one is passed as a view, which both libraries hand to
sgemm as a flag. Results go to a preallocated matrix.
"""
import json
import os
import sys
import time

THREADS = int(os.environ["OMP_NUM_THREADS"])
VALUES = range(-3, 4)  # of the operands, in turn, as in gemm.go: what bits change costs power, and so clock rate


def with_numpy():
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]

    def prepare(m, n, k, trans_a, trans_b):
        a, b = (
            np.resize(np.array(VALUES, np.float32), shape)
            for shape in ((k, m) if trans_a else (m, k), (n, k) if trans_b else (k, n))
        )
        c = np.empty((m, n), np.float32)
        x, y = a.T if trans_a else a, b.T if trans_b else b
        return lambda: np.matmul(x, y, out=c)

    return f"NumPy {np.__version__}, {blas['name']} {blas['version']}", prepare


def with_torch():
    import torch

    torch.set_num_threads(THREADS)
    if not torch.backends.mkl.is_available():
        sys.exit("this PyTorch is built without MKL")
    mkl = next(line.strip(" -") for line in torch.__config__.show().splitlines() if "Math Kernel Library" in line)

    def prepare(m, n, k, trans_a, trans_b):
        a, b = (
            (torch.arange(rows * cols) % len(VALUES) + VALUES[0]).float().view(rows, cols)
            for rows, cols in ((k, m) if trans_a else (m, k), (n, k) if trans_b else (k, n))
        )
        c = torch.empty((m, n))
        x, y = a.t() if trans_a else a, b.t() if trans_b else b
        return lambda: torch.mm(x, y, out=c)

    torch.inference_mode(True).__enter__()
    return f"PyTorch {torch.__version__}, {mkl}", prepare


def answer(value):
    print(json.dumps(value), flush=True)


version, prepare = {"numpy": with_numpy, "torch": with_torch}[sys.argv[1]]()
answer({"version": version})
run = None
for line in sys.stdin:
    request = json.loads(line)
    if "case" in request:
        c = request["case"]
        run = prepare(c["M"], c["N"], c["K"], c["TransA"], c["TransB"])
        answer({})
        continue
    start = time.perf_counter()
    for _ in range(request["repeat"]):
        run()
    answer({"seconds": time.perf_counter() - start})
