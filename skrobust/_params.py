"""Checks and shared documentation of the estimators' parameters."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.utils import get_tags
from torch import nn

from ._nets import ACTIVATIONS
from ._words import filled_doc, is_count, is_number, parameter_error

LEARNING_RATES = ("constant", "cosine")
SOLVERS = ("adam", "sgd")
# losses that may be named, by the type of the estimator: labels are one-hot, so that
# they have a distance too, and detectors have no targets
DISTANCES = ("squared_error", "absolute_error", "huber")
CRITERIA = {
    "classifier": ("cross_entropy", *DISTANCES),
    "regressor": DISTANCES,
    "outlier_detector": ("reconstruction_error", "negative_log_likelihood"),
}
BOOL = "an instance of 'bool' or an instance of 'numpy.bool'"


def keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Assign the arguments of ``__init__`` as attributes, unchanged."""
    for name, value in parameters.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def require(estimator: Any, name: str, ok: bool, expected: str) -> None:
    """Raise scikit-learn's error about a parameter unless ``ok``."""
    if not ok:
        owner = type(estimator).__name__
        raise parameter_error(name, owner, expected, getattr(estimator, name))


def require_number(
    estimator: Any, name: str, low: float, high: float = float("inf"), **ends: bool
) -> None:
    """Require a float in a range; ``open_low=True`` and ``open_high`` exclude ends."""
    value = getattr(estimator, name)
    below, above = ends.get("open_low", False), ends.get("open_high", True)
    ok = is_number(value) and low <= value <= high
    ok = ok and not (below and value == low) and not (above and value == high)
    left, right = "(" if below else "[", ")" if above else "]"
    require(estimator, name, ok, f"a float in the range {left}{low}, {high}{right}")


def require_count(estimator: Any, name: str, low: int = 1) -> None:
    """Require an int of at least ``low``."""
    ok = is_count(getattr(estimator, name), low)
    require(estimator, name, ok, f"an int in the range [{low}, inf)")


def require_bool(estimator: Any, name: str) -> None:
    """Require a bool of Python or NumPy."""
    ok = isinstance(getattr(estimator, name), bool | np.bool_)
    require(estimator, name, ok, BOOL)


def require_among(estimator: Any, name: str, options: Any) -> None:
    """Require one of some strings."""
    value = getattr(estimator, name)
    ok = isinstance(value, str) and value in options
    require(estimator, name, ok, _among(options))


def _among(options: Any) -> str:
    return "a str among {" + ", ".join(repr(o) for o in sorted(options)) + "}"


def check_criterion(est: Any) -> None:
    """Check the loss; by name only those that make sense of the targets."""
    value, names = est.criterion, CRITERIA[get_tags(est).estimator_type]
    named = isinstance(value, str) and value in names
    ok = named or (callable(value) and not isinstance(value, type))
    require(est, "criterion", ok, f"{_among(names)}, a Loss or a callable")


def check_network(est: Any) -> None:
    """Check the parameters that all networks share."""
    if isinstance(est.network, nn.Module):
        raise ValueError(
            f"The 'network' parameter of {type(est).__name__} must be a factory, such "
            "as a class or a function of (n_features, n_outputs) that returns a new "
            "module, or None. Got an instance of "
            f"{type(est.network).__name__} instead."
        )
    named = isinstance(est.network, str) and est.network in est._named_networks
    ok = est.network is None or callable(est.network) or named
    names = "".join(f"{name!r}, " for name in est._named_networks)
    require(est, "network", ok, f"{names}None or a callable" if names else "a callable")
    sizes = est.hidden_layer_sizes
    listed = isinstance(sizes, tuple | list) or len(getattr(sizes, "shape", ())) == 1
    ok = all(is_count(s) for s in (sizes if listed else (sizes,)))
    require(est, "hidden_layer_sizes", ok, "an array-like of positive ints or an int")
    require_among(est, "activation", ACTIVATIONS)
    require_number(est, "dropout", 0, 1)
    require_among(est, "solver", getattr(est, "_solvers", SOLVERS))
    require_among(est, "learning_rate", LEARNING_RATES)
    require_number(est, "learning_rate_init", 0, open_low=True)
    require_number(est, "alpha", 0)
    require_number(est, "weight_decay", 0)
    require_number(est, "momentum", 0, 1)
    require_number(est, "tol", 0)
    for name in ("batch_size", "max_iter"):
        if name in est._automatic and getattr(est, name) == "auto":
            continue
        if name == "batch_size" and isinstance(est.batch_size, float):
            require_number(est, name, 0, 1, open_low=True, open_high=False)
        else:
            require_count(est, name)
    if est.n_iter_no_change is not None:
        require_count(est, "n_iter_no_change")
    chosen = "clip_norm" in est._automatic and est.clip_norm == "auto"
    if est.clip_norm is not None and not chosen:
        require_number(est, "clip_norm", 0, open_low=True)
    if hasattr(est, "criterion"):
        check_criterion(est)
    for name in ("standardize", "warm_start", "nesterovs_momentum"):
        require_bool(est, name)
    ok = isinstance(est.verbose, bool | np.bool_) or is_count(est.verbose, 0)
    require(est, "verbose", ok, f"an int in the range [0, inf), {BOOL}")


def check_stopping(est: Any) -> None:
    """Check the parameters of early stopping."""
    require_bool(est, "early_stopping")
    require_number(est, "validation_fraction", 0, 1, open_low=True)


def check_composition(est: Any) -> None:
    """Check the parameters of the three open bases."""
    require_count(est, "n_networks")
    ok = isinstance(est.steps, tuple | list) and all(map(_is_step, est.steps))
    expected = "a tuple of steps: instances, not classes, and rules as Reweight(rule)"
    require(est, "steps", ok, expected)


def _is_step(value: Any) -> bool:
    """Whether a value can be called like a step, as classes and rules cannot."""
    if not callable(value) or isinstance(value, type):
        return False
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # Python cannot tell of all callables
        return True
    try:
        signature.bind("stack", "batch", "context")
    except TypeError:
        return False
    return True


def documented(cls: type) -> type:
    """Fill ``{network_parameters}`` and its like into a class docstring."""
    defaults = inspect.signature(cls).parameters
    values = {name: repr(parameter.default) for name, parameter in defaults.items()}
    shared = dict(SHARED_DOCS)
    counts: dict[str, str] = cls._automatic  # type: ignore[attr-defined]
    for name, kinds, part in (
        ("batch_size", "int, float", "training_parameters"),
        ("max_iter", "int", "training_parameters"),
        ("clip_norm", "float or None", "border_parameters"),
    ):
        text = shared[part]
        if name in counts:
            more = f"{kinds.replace(' or ', ', ')} or 'auto'"
            text = text.replace(f"{name} : {kinds}", f"{name} : {more}")
        rule = f"    'auto' is {counts[name]}." if name in counts else ""
        shared[part] = text.replace(f"    {{{name}_rule}}\n", rule and f"{rule}\n")
    cls.__doc__ = filled_doc(cls, {**shared, **values})
    return cls


SHARED_DOCS = {
    "network_parameters": """
{layer_parameters}
{network_parameter}
{training_parameters}""",
    "contamination_parameters": """
contamination : float or "auto", default=0.1
    Fraction of outliers in the training rows, in [0, 0.5]; it sets ``offset_``. Exactly
    ``floor(contamination * n_samples)`` of them fall below, except where the boundary
    runs through rows of equal scores: these all stay inliers. 0, for clean training
    rows, puts the threshold just below the lowest of their scores. 'auto' puts it three
    robust standard deviations (1.4826 times the median absolute deviation) below their
    median. `set_contamination` moves the threshold later.
calibration_fraction : float, default=0.0
    Share of the rows that training does not see, in [0, 1), so that `p_values` can
    compare new rows with them. They are chosen by a hash of their values, so their
    number is not exact. With 0 all rows are trained on, and `p_values` needs
    calibration rows of your own.""",
    "epsilon_parameter": """
epsilon : float, default=None
    Share of every batch that training leaves out, in [0, 1): the rows with the
    highest loss. None: ``contamination``, or 0.1 where that is 'auto'.""",
    "detector_attributes": """
offset_ : float
    ``decision_function = score_samples - offset_``. It may be set by hand;
    ``set_contamination`` moves it by a share of the training rows.
training_scores_ : ndarray of shape (n_samples,)
    ``score_samples`` of the rows given to ``fit``, from which thresholds are read.
calibration_mask_ : ndarray of shape (n_samples,)
    Which of them training did not see.""",
    "block_parameters": """
n_blocks : int, float or 'auto', default='auto'
    Blocks that a batch is cut into, anew in every step; a float in (0, 1] is their
    share of the batch's rows. More than half of the blocks must hold no bad row, so
    blocks must be small where many rows are bad: with a quarter of them, blocks of
    two rows are the largest that do. At most as many as rows. The int 1 is plain
    training. 'auto': see ``n_central``.
selection : {'loss', 'increment'}, default='loss'
    What is averaged in a block. 'increment' is the source: two networks (players),
    the loss of the first minus that of the second; the first steps on the median
    block, the block is chosen again, and the second steps on its own loss. They
    predict together. About twice the time. 'loss' is the loss of a single network.
n_central : int, float or 'auto', default='auto'
    How many blocks around the median to follow, an odd number, or if a float in
    (0, 1] their share. 'auto' is 1, as in the source, and blocks of two rows, where
    one of the others is given.""",
    "mom_parameters": """
epsilon : float, default=None
    Share of bad rows to expect, in [0, 0.5). It changes nothing: with it `fit` warns
    where the blocks are too large, or too few, for so many.
stopping : {'loss', 'change'}, default='loss'
    What ends training before `max_iter`: the loss as described under `tol`, or, as
    in the source, a step that moved the parameters by `tol` or less.
max_restarts : int, default=3
    How often a fit that diverges may begin again, each time with new first weights,
    a tenth of the step size and all `max_iter` epochs.""",
    "fitted_attributes": """
n_iter_ : int
    Epochs done.
loss_curve_ : list of float
    Mean loss, in each epoch, of what was trained on.
validation_scores_ : list of float
    Score of the held-out rows in each epoch, if there were any.
n_outputs_ : int
    Outputs of the network.
n_features_in_ : int
    Columns of X.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Their names, if X had any.""",
    "layer_parameters": """
hidden_layer_sizes : array-like of int or int, default={hidden_layer_sizes}
    Units of each hidden layer of the default network.
activation : {'relu', 'tanh', 'logistic', 'leaky_relu', 'identity'}, \
        default={activation}
    Activation of the hidden layers; 'leaky_relu' has slope 0.1.""",
    "network_parameter": """
network : callable, default=None
    Factory of your own network, instead of the default one: a class or function
    called with the number of features (the shape of a row when X has more than two
    dimensions) and the number of outputs, that returns a new ``torch.nn.Module``.
    The module maps (n, ...) to (n, n_outputs). A factory and not an instance,
    because every fit needs fresh weights.""",
    "training_parameters": """
dropout : float, default={dropout}
    Share of hidden units silenced in each training step, in [0, 1).
solver : {'adam', 'sgd'}, default='adam'
    Optimizer.
alpha : float, default={alpha}
    Strength of the L2 penalty, ``alpha / 2 * |weights|^2`` divided by the weight of
    a batch, as in `sklearn.neural_network.MLPClassifier`.
weight_decay : float, default={weight_decay}
    Decoupled decay: each step also multiplies the weights by
    ``1 - learning_rate * weight_decay``. Strong decay (1.0) slows the memorising of
    wrong labels and targets, and costs clean data next to nothing.
batch_size : int, float, default={batch_size}
    Rows of a training step, or if a float in (0, 1] their share of all weight. A row
    of weight two is two rows where all weights are whole numbers.
    {batch_size_rule}
    In small batches the share of wrong rows varies too much to leave out the same
    fraction of each. Batches are balanced to one row; rows that all fit one batch
    keep their order.
learning_rate : {'constant', 'cosine'}, default={learning_rate}
    'cosine' lets the step size fall to zero over ``max_iter`` epochs. It stays
    constant in ``partial_fit``: a stream has no last epoch.
learning_rate_init : float, default={learning_rate_init}
    Step size at the start.
max_iter : int, default={max_iter}
    Largest number of epochs.
    {max_iter_rule}
random_state : int, RandomState instance or None, default=None
    Seed of the first weights, the order of the rows and dropout. An int makes fits
    on one machine equal to the bit.
tol : float, default=1e-4
    Training ends when the loss has not improved by ``tol`` for
    ``n_iter_no_change`` epochs.
verbose : bool or int, default=False
    Whether to print the loss of each epoch.
warm_start : bool, default=False
    Whether ``fit`` goes on from the last fit's weights and scaling.
momentum : float, default=0.9
    Momentum of 'sgd', in [0, 1).
nesterovs_momentum : bool, default=True
    Whether 'sgd' uses Nesterov's form of momentum.""",
    "stopping_parameters": """
early_stopping : bool, default=False
    Whether to hold out part of the rows and to end when their score has not
    improved by ``tol`` for ``n_iter_no_change`` epochs. The best weights are kept.
    The held-out rows may be corrupted too, so the score is one that withstands it:
    accuracy for classes, minus the median absolute error for numbers. Giving
    ``X_val`` and ``y_val`` to ``fit`` turns this on as well.
validation_fraction : float, default=0.1
    Part of the rows held out, in (0, 1).""",
    "border_parameters": """
n_iter_no_change : int or None, default={n_iter_no_change}
    Epochs without improvement before training ends; None: it goes on to ``max_iter``,
    and early stopping waits for a tenth of the epochs, at least 10.
clip_norm : float or None, default={clip_norm}
    Largest norm of the gradient of a batch; longer ones are scaled back.
    {clip_norm_rule}
standardize : bool, default=True
    Whether to scale the columns of a two-dimensional X to zero mean and unit
    variance inside the estimator. Mean and variance are those of values inside
    generous fences, and scaled values are clipped to +-10, so gross values in X do
    little harm.
device : str or torch.device, default='auto'
    'auto' is a CUDA GPU if there is one, else Apple's MPS, else the CPU.
dtype : {'auto', 'float32', 'float64'}, default='auto'
    Precision of the network. 'auto' is that of X (float32 on MPS). float32 X is up
    to twice as fast.""",
}
