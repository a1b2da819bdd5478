"""Fits of estimators, by the epoch: ours, scikit-learn's MLP and skorch, float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from _harness import compare, describe, one_thread, report
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn

from skrobust import MoMClassifier, MRClassifier, NetClassifier, PRLClassifier

N_ROWS, N_FEATURES, WIDTH, N_CLASSES, BATCH, EPOCHS = 8000, 50, 64, 10, 128, 20

SHARED = {
    "hidden_layer_sizes": (WIDTH, WIDTH),
    "batch_size": BATCH,
    "max_iter": EPOCHS,
    "n_iter_no_change": EPOCHS + 1,  # nobody stops early
    "random_state": 0,
}


def skorch_net() -> object:
    from skorch import NeuralNetClassifier

    layers = [nn.Linear(N_FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)]
    torch.manual_seed(0)
    return NeuralNetClassifier(
        nn.Sequential(*layers, nn.ReLU(), nn.Linear(WIDTH, N_CLASSES)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=EPOCHS,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def main() -> None:
    one_thread()
    describe()
    X, y = make_classification(
        N_ROWS, N_FEATURES, n_informative=20, n_classes=N_CLASSES, random_state=0
    )
    X, y = X.astype(np.float32), y.astype(np.int64)
    ours = {"device": "cpu"}
    models = {
        "NetClassifier": NetClassifier(**SHARED, **ours),
        # the others do not scale their inputs either
        "  standardize=False": NetClassifier(standardize=False, **SHARED, **ours),
        "PRLClassifier, PRL(L)": PRLClassifier(**SHARED, **ours),
        "PRLClassifier, PRL(G)": PRLClassifier(score="gradient", **SHARED, **ours),
        "MRClassifier, eta=0.1": MRClassifier(0.1, **SHARED, **ours),
        "MRClassifier, eta='auto'": MRClassifier(**SHARED, **ours),
        "MoMClassifier": MoMClassifier(**SHARED, **ours),
        "MLPClassifier": MLPClassifier(**SHARED),
    }
    try:
        models["skorch"] = skorch_net()
    except ImportError:
        print("skorch is not installed (pip install skorch): left out")

    def fit(model: object) -> Callable[[], object]:
        return lambda: model.fit(X, y)

    cases = {name: fit(model) for name, model in models.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ratios = compare(cases, "NetClassifier", rounds=5)
    title = f"epoch {N_FEATURES}-{WIDTH}-{WIDTH}, batch {BATCH}, n = {N_ROWS}"
    report(title, ratios, "NetClassifier", EPOCHS)


if __name__ == "__main__":
    main()
