"""Throughput of FAISS on the vectors that sid_scale left: residual quantisation
(greedy, 4 codebooks of 256) and one k-means of 256. Usage: peer.py FOLDER DIM SAMPLE.
Needs numpy and faiss-cpu; prints a JSON object."""

import json
import os
import sys
import time

import faiss
import numpy as np

folder, dim, sample = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
vectors = np.fromfile(os.path.join(folder, "vectors.f32"), dtype="<f4").reshape(-1, dim)
part = vectors[np.sort(np.random.default_rng(1).permutation(len(vectors))[:sample])]
faiss.omp_set_num_threads(2)


def timed(step):
    began = time.perf_counter()
    out = step()
    return out, time.perf_counter() - began


rq = faiss.ResidualQuantizer(dim, 4, 8)
rq.max_beam_size = 1  # greedy, as ours
rq.train_type = faiss.ResidualQuantizer.Train_default
_, fit = timed(lambda: rq.train(part))
codes, assign = timed(lambda: rq.compute_codes(vectors))
some = vectors[:100_000]
error = float(((rq.decode(codes[:100_000]) - some) ** 2).sum() / (some**2).sum())
kmeans = faiss.Kmeans(dim, 256, niter=25, seed=1)
_, kfit = timed(lambda: kmeans.train(part))
_, kassign = timed(lambda: kmeans.index.search(vectors, 1))
print(json.dumps({
    "faiss": faiss.__version__,
    "threads": 2,
    "fit_seconds": {"residual quantiser": fit, "k-means, one level": kfit},
    "items_per_second": {"residual quantiser": len(vectors) / assign, "k-means, one level": len(vectors) / kassign},
    "relative_error": {"residual quantiser": error},
}, indent=2))
