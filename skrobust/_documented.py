"""Documentation that the estimators' parameters share."""

from __future__ import annotations

import inspect

from ._params import SOLVERS
from ._words import filled_doc


def documented(cls: type) -> type:
    """Fill ``{network_parameters}`` and its like into a class docstring."""
    defaults = inspect.signature(cls).parameters
    values = {name: repr(parameter.default) for name, parameter in defaults.items()}
    shared = dict(SHARED_DOCS)
    about: str = cls._input_scaler.ABOUT  # type: ignore[attr-defined]
    shared["border_parameters"] = shared["border_parameters"].replace("{units}", about)
    counts: dict[str, str] = cls._automatic  # type: ignore[attr-defined]
    for name, kinds, part in (
        ("batch_size", "int, float", "training_parameters"),
        ("max_iter", "int", "training_parameters"),
        ("weight_decay", "float", "training_parameters"),
        ("clip_norm", "float or None", "border_parameters"),
    ):
        text = shared[part]
        if name in counts:
            more = f"{kinds.replace(' or ', ', ')} or 'auto'"
            text = text.replace(f"{name} : {kinds}", f"{name} : {more}")
        rule = f"    'auto' is {counts[name]}." if name in counts else ""
        shared[part] = text.replace(f"    {{{name}_rule}}\n", rule and f"{rule}\n")
    solvers = getattr(cls, "_solvers", SOLVERS)
    rule = "".join(SOLVER_DOCS.get(name, "") for name in solvers)
    text = shared["training_parameters"].replace("    {solver_rule}\n", rule)
    names = ", ".join(map(repr, solvers))
    shared["training_parameters"] = text.replace("{solvers}", f"{{{names}}}")
    cls.__doc__ = filled_doc(cls, {**shared, **values})
    return cls


# of solvers that not every network has
SOLVER_DOCS = {
    "lstsq": """\
    'lstsq' solves weighted least squares in closed form in every epoch. It is
    for a linear model, ``hidden_layer_sizes=()``, with squared errors, and does
    not use the parameters of gradient steps and penalties. The paper halves the
    squared error: its step size is twice `eta`.
"""
}

SHARED_DOCS = {
    "network_parameters": """
{layer_parameters}
{network_parameter}
{training_parameters}""",
    "contamination_parameters": """
contamination : float, "auto" or None, default=0.1
    Fraction of outliers in the training rows, in [0, 0.5]; it sets ``offset_``. Exactly
    ``floor(contamination * n_samples)`` of them fall below, except where the boundary
    runs through rows of equal scores: these all stay inliers. 0 or None, for clean
    training rows, puts the threshold just below the lowest of their scores. 'auto' puts
    it three robust standard deviations (1.4826 times the median absolute deviation)
    below their median. `set_contamination` and `set_offset` move the threshold later.
calibration_fraction : float, default=0.0
    Share of the rows that training does not see, in [0, 1), so that `p_values` can
    compare new rows with them. They are chosen by a hash of their values, so their
    number is not exact, and of equal rows each for itself. With 0 all rows are
    trained on, and `p_values` needs calibration rows of your own.""",
    "epsilon_parameter": """
epsilon : float, default=None
    Share of every batch that training leaves out, in [0, 1): the rows with the
    highest loss. None: ``contamination``, or 0.1 where that is 'auto'.""",
    "detector_attributes": """
offset_ : float
    ``decision_function = score_samples - offset_``. `set_offset` sets it,
    `set_contamination` moves it by a share of the training rows.
training_scores_ : ndarray of shape (n_samples,)
    ``score_samples`` of the rows given to ``fit``, from which thresholds are read.
calibration_mask_ : ndarray of shape (n_samples,)
    Of which of them, or of which part of their weight, training saw nothing.""",
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
{training_attributes}
validation_scores_ : list of float
    Score of the held-out rows in each epoch, if there were any.
best_validation_score_ : float
    The highest of them: that of the weights that were kept.
{shape_attributes}""",
    "training_attributes": """
n_iter_ : int
    Epochs done.
loss_curve_ : list of float
    Mean loss, in each epoch, of what was trained on.
best_loss_ : float
    The lowest of them; inf if no epoch came to its end.""",
    "shape_attributes": """
n_outputs_ : int
    Outputs of the network.
n_features_in_ : int
    Columns of X.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Their names, if X had any.""",
    "layer_parameters": """
hidden_layer_sizes : array-like of int or int, default={hidden_layer_sizes}
    Units of each hidden layer of the default network.
activation : str, default={activation}
    Activation of the hidden layers: 'relu', 'tanh', 'logistic', 'leaky_relu' (of
    slope 0.1) or 'identity'.""",
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
solver : {solvers}, default={solver}
    Optimizer.
    {solver_rule}
alpha : float, default={alpha}
    Strength of the L2 penalty, ``alpha / 2 * |weights|^2`` divided by the weight of
    a batch, as in `sklearn.neural_network.MLPClassifier`.
weight_decay : float, default={weight_decay}
    Decoupled decay: each step also multiplies the weights by
    ``1 - learning_rate * weight_decay``. It slows the memorising of wrong labels and
    targets; 1.0 costs clean data next to nothing.
    {weight_decay_rule}
batch_size : int, float, default={batch_size}
    Rows of a training step, or if a float in (0, 1] their share of all weight. A row
    of weight two is two rows where all weights are whole numbers and none is more
    than a twentieth of a batch.
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
{loop_parameters}""",
    "loop_parameters": """
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
    little harm.{units}
device : str or torch.device, default='auto'
    'auto' is a CUDA GPU if there is one, else the CPU. Apple's MPS cannot be used:
    it has no double precision.
dtype : {'auto', 'float32', 'float64'}, default='auto'
    Precision of the network. 'auto' is that of X. float32 X is up
    to twice as fast.""",
}
