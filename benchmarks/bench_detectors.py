"""Detectors beside their peers, float32: RCA and DeepOD's, autoencoders and PyOD's.

Each pair has the same layers, batch size, learning rate and number of epochs, and a fit
of either ends with scores of the training rows. Peers are optional:

    pip install torch==2.13.0        # first, or theirs may pull another
    pip install deepod ray pyod
    python benchmarks/bench_detectors.py
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np
from _harness import Case, compare, describe, one_thread, report

from skrobust import NetOutlierDetector, RCAOutlierDetector

N_ROWS, N_FEATURES, EPOCHS, PASSES = 7600, 100, 5, 10
OURS = {"standardize": False, "device": "cpu", "random_state": 0}


def quietly(call: Callable[[], object]) -> Case:
    """Return a call without what peers print and warn."""

    def case() -> object:
        silence = contextlib.redirect_stdout(io.StringIO())
        with silence, contextlib.redirect_stderr(io.StringIO()):
            return call()

    return case


def peer(module: str, name: str) -> type | None:
    """Import a peer, or say that it is missing."""
    try:
        return getattr(__import__(module, fromlist=[name]), name)
    except ImportError as error:
        print(f"{module}.{name} is left out: {error}")
        return None


def our_rca(n_passes: int) -> RCAOutlierDetector:
    """Two networks of DeepOD's default shape, trimmed by its default share."""
    return RCAOutlierDetector(
        hidden_layer_sizes=(100, 50),
        code_size=128,
        batch_size=64,
        max_iter=EPOCHS,
        epsilon=0.02,
        n_passes=n_passes,
        **OURS,
    )


def collaborative(X: np.ndarray) -> None:
    """Compare training, with a single pass of scores at its end, then the ensemble."""
    base, model = "RCAOutlierDetector", our_rca(PASSES).fit(X)
    fits = {base: quietly(lambda: our_rca(1).fit(X))}
    scores = {base: quietly(lambda: model.score_samples(X))}
    theirs = peer("deepod.models.tabular.rca", "RCA")
    if theirs is not None:

        def new(passes: int) -> object:
            shared = {"epochs": EPOCHS, "batch_size": 64, "device": "cpu"}
            return theirs(**shared, inference_ensemble=passes, verbose=0)

        known = new(PASSES)
        quietly(lambda: known.fit(X))()
        fits["DeepOD"] = quietly(lambda: new(1).fit(X))
        scores["DeepOD"] = quietly(lambda: known.decision_function(X))
    shape = f"{N_FEATURES}-100-50-128-50-100-{N_FEATURES}, two networks, n = {N_ROWS}"
    report(f"RCA, fit, {shape}", compare(fits, base, rounds=5), base, EPOCHS)
    report(f"RCA, {PASSES} passes", compare(scores, base, rounds=7), base, PASSES)


def plain(X: np.ndarray) -> None:
    """Compare autoencoders: fit with scores of the training rows, then scores."""
    ours = NetOutlierDetector(
        hidden_layer_sizes=(64,),
        code_size=32,
        activation="relu",
        dropout=0.2,
        batch_size=32,
        max_iter=EPOCHS,
        **OURS,
    )
    base = "NetOutlierDetector"
    fits = {base: quietly(lambda: ours.fit(X))}
    scores = {base: quietly(lambda: ours.score_samples(X))}
    theirs = peer("pyod.models.auto_encoder", "AutoEncoder")
    if theirs is not None:
        for norm in (True, False):
            model = theirs(
                epoch_num=EPOCHS, preprocessing=False, batch_norm=norm, verbose=0
            )
            name = "PyOD" if norm else "PyOD, no batch norm"
            fits[name] = quietly(lambda model=model: model.fit(X))
            scores[name] = quietly(lambda model=model: model.decision_function(X))
    shape = f"{N_FEATURES}-64-32-64-{N_FEATURES}, batch 32, n = {N_ROWS}"
    report(f"autoencoder, fit, {shape}", compare(fits, base, rounds=5), base, EPOCHS)
    report("autoencoder, scores", compare(scores, base, rounds=7), base, 1)


def main() -> None:
    one_thread()
    describe()
    X = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collaborative(X)
        plain(X)


if __name__ == "__main__":
    main()
