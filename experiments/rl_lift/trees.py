"""What is left to a model of interactions: LightGBM's LambdaMART on the slates and evidence of runs, for the table of main.go.

It reads what gr2 export slates wrote of the runs of seeds 1, 2, ... in that order, fits one model for each incoming order and seed on the parts that the
controls of the report are fitted on (train and valid) but for the held part, which chooses the number of trees, and measures the test
part once. A peer of the report's control/trees, with its values: each candidate's, and their distances from the largest of the slate. Needs Python with numpy, pandas and lightgbm; not part of the product.

    python experiments/rl_lift/trees.py beauty-1.csv.gz beauty-2.csv.gz beauty-3.csv.gz > experiments/rl_lift/beauty-trees.json
"""
import json
import sys

import lightgbm
import numpy
import pandas


def metrics(scores, grades, groups):
    """R@1, R@3 and N@3 of each slate, as internal/metric has them; ties keep the incoming order."""
    rows, at = [], 0
    for n in groups:
        g = grades[at : at + n][numpy.argsort(-scores[at : at + n], kind="stable")]
        at += n
        gain = 2.0**g - 1
        discount = 1 / numpy.log2(numpy.arange(n) + 2)
        ideal = numpy.sort(gain)[::-1]
        positives = (g > 0).sum()
        rows.append([(g[:1] > 0).sum() / min(1, positives), (g[:3] > 0).sum() / min(3, positives), (gain[:3] * discount[:3]).sum() / (ideal[:3] * discount[:3]).sum()])
    return numpy.array(rows).mean(0)


def parts(table, names):
    for part in names:
        t = table[table.part == part]
        t = t[t.groupby("slate", sort=False).grade.transform("max") > 0]
        yield t, t.groupby("slate", sort=False).size().to_numpy()


def lifts(table, seed):
    values = list(table.columns[table.columns.get_loc("grade") + 1 :])
    out = {}
    for order, slates in table.groupby("order", sort=False):
        slates = slates.assign(**{"order/rank": 1 / slates["rank"]})
        columns = values + ["order/rank"]
        largest = slates.groupby("slate", sort=False)[columns].transform("max")
        slates = slates.join((slates[columns] - largest).add_suffix("/gap"))
        columns += [c + "/gap" for c in columns]
        (train, train_groups), (valid, valid_groups), (held, held_groups), (test, test_groups) = parts(slates, ["train", "valid", "held", "test"])
        fit = pandas.concat([train, valid])
        data = lightgbm.Dataset(fit[columns], fit.grade, group=numpy.concatenate([train_groups, valid_groups]))
        options = {
            "objective": "lambdarank", "metric": "ndcg", "eval_at": [3], "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 200,
            "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 10, "lambdarank_truncation_level": 10,
            "seed": seed, "num_threads": 1, "deterministic": True, "verbose": -1,
        }
        model = lightgbm.train(options, data, 800, [lightgbm.Dataset(held[columns], held.grade, group=held_groups, reference=data)],
                               callbacks=[lightgbm.early_stopping(60, verbose=False)])
        base = metrics(-test["rank"].to_numpy(float), test.grade.to_numpy(), test_groups)
        got = metrics(model.predict(test[columns]), test.grade.to_numpy(), test_groups)
        out[order] = {"slates": len(test_groups), "trees": model.best_iteration, "lift": dict(zip(["R@1", "R@3", "N@3"], (got / base - 1).tolist()))}
    return out


seeds = {}
for seed, path in enumerate(sys.argv[1:], 1):
    seeds[str(seed)] = lifts(pandas.read_csv(path), seed)
print(json.dumps({"model": f"LightGBM {lightgbm.__version__}, lambdarank", "seeds": seeds}, indent=1))
