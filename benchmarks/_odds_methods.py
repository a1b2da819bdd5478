"""The detectors compared on ODDS: peers with their libraries' defaults, and ours.

Each is a function ``(X, epsilon, seed) -> score``, where ``score(X)`` is higher for
outliers. Peers see standardised columns (scaler of the training part), ours raw ones,
which they scale themselves. PyOD is imported when one of its methods is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from skrobust import RCAOutlierDetector, RobustRealNVPDetector

Array = Any
Score = Callable[[Array], Array]
Method = Callable[[Array, float, int], Score]


def sklearn_peer(make: Callable[[int], Any]) -> Method:
    """Wrap an estimator of scikit-learn that has ``score_samples``."""

    def fit(X: Array, epsilon: float, seed: int) -> Score:
        model = make_pipeline(StandardScaler(), make(seed)).fit(X.astype(float))
        return lambda Z: -model.score_samples(Z.astype(float))

    return fit


def pyod_peer(path: str, *, seeded: bool = False, width: bool = False, **options: Any):
    """Wrap a detector of PyOD: ``path`` is its module and class.

    ``seeded`` where it takes a random_state, ``width`` where it must be told the
    number of columns.
    """

    def fit(X: Array, epsilon: float, seed: int) -> Score:
        module, name = path.rsplit(".", 1)
        make = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        more = {"random_state": seed} if seeded else {}
        more |= {"n_features": X.shape[1]} if width else {}
        scaler = StandardScaler().fit(X.astype(float))
        model = make(**options, **more).fit(scaler.transform(X.astype(float)))
        return lambda Z: model.decision_function(scaler.transform(Z.astype(float)))

    return fit


CLASSICAL: dict[str, Method] = {
    "IForest": sklearn_peer(lambda seed: IsolationForest(random_state=seed)),
    "OCSVM": sklearn_peer(lambda seed: OneClassSVM()),
    "LOF": sklearn_peer(lambda seed: LocalOutlierFactor(novelty=True)),
    "KNN": pyod_peer("knn.KNN"),
    "ECOD": pyod_peer("ecod.ECOD"),
    "COPOD": pyod_peer("copod.COPOD"),
    "HBOS": pyod_peer("hbos.HBOS"),
    "INNE": pyod_peer("inne.INNE", seeded=True),
    "PCA": pyod_peer("pca.PCA", seeded=True),
    "GMM": sklearn_peer(lambda seed: GaussianMixture(random_state=seed)),
}

DEEP: dict[str, Method] = {
    "AutoEncoder (PyOD)": pyod_peer("auto_encoder.AutoEncoder", seeded=True, verbose=0),
    "VAE (PyOD)": pyod_peer("vae.VAE", seeded=True, verbose=0),
    "DeepSVDD (PyOD)": pyod_peer(
        "deep_svdd.DeepSVDD", seeded=True, width=True, verbose=0
    ),
}


def ours(make: Callable[..., Any], *, told: bool = False, **options: Any) -> Method:
    """Wrap a detector of this package; ``told`` where it is given the true epsilon."""

    def fit(X: Array, epsilon: float, seed: int) -> Score:
        more = {"epsilon": epsilon} if told else {}
        model = make(random_state=seed, **options, **more).fit(X)
        return lambda Z: -model.score_samples(Z)

    return fit


def plainly_scaled(**options: Any) -> Method:
    """Wrap RCA behind scikit-learn's scaler, whose spread gross values do move."""

    def fit(X: Array, epsilon: float, seed: int) -> Score:
        clip = FunctionTransformer(np.clip, kw_args={"a_min": -8, "a_max": 8})
        rca = RCAOutlierDetector(standardize=False, random_state=seed, **options)
        model = make_pipeline(StandardScaler(), clip, rca).fit(X)
        return lambda Z: -model.score_samples(Z)

    return fit


PLAIN = {"n_networks": 1, "epsilon": 0.0}

RCAS: dict[str, Method] = {
    "RCA": ours(RCAOutlierDetector),
    "RCA (two capacities)": ours(RCAOutlierDetector, capacities=(0.5, 0.0)),
    "RCA (plain scaling)": plainly_scaled(),
    "RCA (two capacities, plain scaling)": plainly_scaled(capacities=(0.5, 0.0)),
    "RCA (true epsilon)": ours(RCAOutlierDetector, told=True),
    "RCA-E": ours(RCAOutlierDetector, n_passes=0),
    "RCA-SS": ours(RCAOutlierDetector, epsilon=0.0),
    "AE": ours(RCAOutlierDetector, dropout=0.0, **PLAIN),
    "RCVA": ours(RCAOutlierDetector, network="vae"),
    "VAE": ours(RCAOutlierDetector, network="vae", **PLAIN),
}
MANY: dict[str, Method] = {
    f"{k}-RCA": ours(RCAOutlierDetector, n_networks=k) for k in range(3, 8)
}
FLOWS: dict[str, Method] = {
    "RobustRealNVP": ours(RobustRealNVPDetector),
    "RobustRealNVP (true epsilon)": ours(RobustRealNVPDetector, told=True),
    "TrimRealNVP": ours(RobustRealNVPDetector, lipschitz=None),
    "RealNVP": ours(RobustRealNVPDetector, epsilon=0.0, lipschitz=None),
    "RealNVP (no noise)": ours(
        RobustRealNVPDetector, epsilon=0.0, lipschitz=None, noise=0.0
    ),
}

METHODS = CLASSICAL | DEEP | RCAS | MANY | FLOWS


def some(*names: str) -> dict[str, Method]:
    """Return methods by name."""
    return {name: METHODS[name] for name in names}


GROUPS: dict[str, dict[str, Method]] = {
    "classical": CLASSICAL,
    "deep": DEEP,
    "rca": RCAS,
    "many": MANY,
    "flows": FLOWS,
    "missing": some("RCA", "RCA-E", "RCA-SS", "AE", "VAE", "OCSVM", "IForest"),
    "told": some("RCA (true epsilon)", "RobustRealNVP (true epsilon)"),
    "robust": some("RobustRealNVP (true epsilon)"),
    "classes": some(
        *"IForest KNN LOF OCSVM INNE ECOD HBOS".split(),
        *("RCA", "RCA (two capacities)", "RobustRealNVP"),
    ),
    "codes": some(
        *"IForest OCSVM LOF GMM RobustRealNVP RCA".split(),
        *("RCA (two capacities)", "RCA (plain scaling)"),
        "RCA (two capacities, plain scaling)",
    ),
    "images": some("RobustRealNVP (true epsilon)", "RealNVP"),
}
