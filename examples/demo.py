"""Wrong labels, and what they cost: the table and the figure of the README.

Three learners see the same wrong labels and are judged by clean test labels: scikit-
learn's ``MLPClassifier``, our network trained plainly, and ``PRLClassifier``, whose
``epsilon`` is chosen by cross-validation on the wrong labels. Nothing but the final
judgement sees a clean label.

The labels of scikit-learn's digits are flipped to the next class for 30 % of the rows.
Where the data home holds it (environment variable SKROBUST_DATA), real human
annotations of CIFAR-10 images are learned too, about 40 % of them wrong.
"""

from __future__ import annotations

import time
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrobust import NetClassifier, PRLClassifier
from skrobust.corruption import pairflip
from skrobust.datasets import fetch_classification
from skrobust.metrics import make_robust_scorer

SEEDS = (0, 1, 2)
SCORER = make_robust_scorer()  # the median of block accuracies


def digits(seed):
    """Training rows, wrong labels, test rows, clean labels."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X.astype(np.float32), y, test_size=0.4, stratify=y, random_state=seed
    )
    return X, pairflip(y, 0.3, random_state=seed)[0], X_test, y_test


def human_labels(seed, n=2000):
    """Draw images from CIFAR-10 with one careless person's labels (CIFAR-10N)."""
    found = fetch_classification("cifar10n_hog", download_if_missing=False)
    X, wrong, n_train = found.data, found.y_worse_label, int(found.n_train)
    rows = np.random.RandomState(seed).permutation(n_train)[:n]
    test = slice(n_train, n_train + n)
    return X[rows], wrong[rows], X[test], found.target[test]


def learners(seed, max_iter):
    """Return three models with networks of the same size."""
    common = {"max_iter": max_iter, "random_state": seed}
    common["hidden_layer_sizes"] = (256, 256)
    prl = GridSearchCV(
        PRLClassifier(**common),
        {"epsilon": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]},
        scoring=SCORER,
        cv=2,
    )
    models = {
        "MLPClassifier": MLPClassifier(**common),
        "plain network": NetClassifier(**common),
        "PRLClassifier": prl,
    }
    return {k: make_pipeline(StandardScaler(), m) for k, m in models.items()}


def compare(load, max_iter):
    """Accuracy in per cent on clean labels by learner, one a seed; chosen epsilons."""
    scores, chosen = {}, []
    for seed in SEEDS:
        X, y, X_test, y_test = load(seed)
        for name, model in learners(seed, max_iter).items():
            model.fit(X, y)
            right = accuracy_score(y_test, model.predict(X_test))
            scores.setdefault(name, []).append(100 * right)
        chosen.append(model[-1].best_params_["epsilon"])  # the last one searched
    return scores, chosen


def main():
    warnings.simplefilter("ignore")
    start, results = time.perf_counter(), {}
    tasks = {
        "digits, 30 % of labels flipped": (digits, 60),
        "CIFAR-10N, 40 % human errors": (human_labels, 20),
    }
    for title, (load, max_iter) in tasks.items():
        try:
            scores, chosen = compare(load, max_iter)
        except OSError as missing:
            print(f"\n{title}: left out. {str(missing).splitlines()[0]}")
            continue
        results[title] = scores
        print(f"\n{title} (accuracy on clean labels, {len(SEEDS)} seeds)")
        for name, values in scores.items():
            note = f"   chose epsilon {chosen}" if name == "PRLClassifier" else ""
            print(f"  {name:15} {np.mean(values):5.1f} +- {np.std(values):.1f}{note}")
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 3.2))
    for axis, (title, scores) in zip(np.atleast_1d(axes), results.items(), strict=True):
        means = [np.mean(v) for v in scores.values()]
        axis.barh(list(scores), means, xerr=[np.std(v) for v in scores.values()])
        axis.set(title=title, xlabel="accuracy on clean labels, %", xlim=(0, 100))
        axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig("demo.png", dpi=120)
    print(f"\nFigure saved to demo.png; {time.perf_counter() - start:.0f} s in all.")


if __name__ == "__main__":
    main()
