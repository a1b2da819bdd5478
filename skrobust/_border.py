"""Between scikit-learn and torch: arrays, weights, devices, seeds, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from ._keys import row_keys

# Work of one batch (multiply-adds) above which more than one thread pays
_WORK_FOR_THREADS = 2**27

# random numbers of a fit, beside its first weights: of the rows' order, and of what
# networks and steps draw; restarts take the streams after these
ORDER, DRAWS, RESTARTS = 1, 2, 3

_thread_lock = threading.Lock()
_here = threading.local()
_thread_users = 0
_thread_count = 1


def to_numpy(data: Any) -> Any:
    """Bring torch tensors, wherever they live, to NumPy; leave the rest alone."""
    if isinstance(data, torch.Tensor):
        # NumPy has no bfloat16
        data = data.float() if data.dtype == torch.bfloat16 else data
        return data.detach().cpu().numpy()
    return data


def check_weights(sample_weight: Any, n: int) -> NDArray[np.float64]:
    """Return sample weights as a float64 array of length n, ones for None."""
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(to_numpy(sample_weight), dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weights.ndim}D array."
        )
    if weights.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
    if not np.isfinite(weights).all():
        raise ValueError("Input sample_weight contains NaN or infinity.")
    if (weights < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError("The sum of sample_weight is too large for dtype('float64').")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def target_keys(
    X: NDArray[Any], target: NDArray[Any] | None, salt: int = 0
) -> NDArray[np.int64]:
    """Give each row and its target a key, the same for equal ones.

    Targets count to six digits, since a scaled target may differ in the last ones.
    """
    table = X.reshape(len(X), -1).astype(np.float64)
    if target is not None:
        target = np.asarray(target, dtype=np.float64).reshape(len(X), -1)
        table = np.hstack([table, np.round(target, 6)])
    return row_keys(table, np.random.RandomState(salt)).view(np.int64)


def pick_device(device: str | torch.device) -> torch.device:
    """Resolve ``device``; "auto" is CUDA, else the CPU.

    A device must have double precision, which weights and scores are held in. Apple's
    MPS has none.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=chosen).cpu()
    except Exception as error:  # torch raises a different kind for every device
        raise ValueError(
            "The 'device' parameter must be 'auto' or a device with double precision "
            f"that torch can use here. Got {device!r} instead: "
            f"{_first_sentence(error)}"
        ) from error
    return chosen


def _first_sentence(error: Exception) -> str:
    """Return what matters of torch's message, which may go on for pages."""
    return str(error).splitlines()[0].split(". ")[0][:200]


def pick_dtype(dtype: str, like: np.dtype[Any]) -> torch.dtype:
    """Resolve ``dtype``; "auto" follows X."""
    known = {"float32": torch.float32, "float64": torch.float64}
    if dtype == "auto":
        return torch.float64 if like == np.float64 else torch.float32
    if dtype not in known:
        raise ValueError(
            "The 'dtype' parameter must be a str among {'auto', 'float32', 'float64'}."
            f" Got {dtype!r} instead."
        )
    return known[dtype]


def draw_seed(random_state: Any) -> int:
    """One seed for all of a fit's own generators."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def make_generator(
    seed: int, device: torch.device | str = "cpu", stream: int = 0
) -> torch.Generator:
    """Return a generator of our own; the global ones are never touched.

    Streams of one seed are independent of each other.
    """
    device = torch.device(device)
    place = device if device.type == "cuda" else "cpu"
    return torch.Generator(place).manual_seed(stream_seed(seed, stream))


def stream_seed(seed: int, stream: int) -> int:
    """Return the seed of one of many independent streams; stream 0 is the seed's own.

    On a CPU torch looks at no more than the last 32 bits of a seed, so that seeds
    2**32 apart would give the same numbers.
    """
    if stream == 0:
        return seed
    return int(np.random.SeedSequence((seed, stream)).generate_state(1)[0])


def require_row_shape(X: NDArray[Any], shape: tuple[int, ...] | None) -> None:
    """Refuse rows of more than one axis whose shape is not that of the fitted ones."""
    if shape is not None and X.shape[1:] != tuple(shape):
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}, but the rows it was fitted with have "
            f"shape {tuple(shape)}."
        )


@contextmanager
def whole_or_not(estimator: Any) -> Iterator[None]:
    """Leave an estimator as it was if a fit does not come to its end."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        for name in set(vars(estimator)) - set(before):
            if not name.startswith("_skl"):  # scikit-learn's own notes, of callbacks
                delattr(estimator, name)
        vars(estimator).update(before)
        raise


@contextmanager
def few_threads(work: float) -> Iterator[None]:
    """Run torch on one thread while batches are small; restore the setting after.

    torch on all cores is several times slower than on one for small networks, and
    far worse on a busy machine. The setting belongs to the process, so the first fit
    to come lowers it and the last to go restores it.

    Parameters
    ----------
    work : float
        Multiply-adds of one batch.
    """
    global _thread_users, _thread_count
    if work > _WORK_FOR_THREADS:
        yield
        return
    if getattr(_here, "busy", False):
        yield
        return
    with _thread_lock:
        if _thread_users == 0:
            _thread_count = torch.get_num_threads()
        _thread_users += 1
    _here.busy = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _here.busy = False
        with _thread_lock:
            _thread_users -= 1
            # torch keeps the setting thread by thread: each restores its own
            torch.set_num_threads(_thread_count)
