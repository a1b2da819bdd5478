"""Real data sets, kept in a data home and downloaded where it lacks them; generators.

The home is a folder with one NumPy archive for each set,
``<home>/<kind>/<name>.npz``, of three kinds: classification, regression and outlier.
An archive holds `X` (float32, of shape (n_samples, n_features)), `y` (float32 for
regression, int64 otherwise; 1 marks an outlier), the strings `origin`, `source` and
`note`, and where they are known `feature_names`, `target_names` and further arrays.
Values are raw: nothing is scaled, and rows keep the order of the origin, which may be
sorted. A file of your own in this layout is served like the others.

Data are drawn instead by :func:`make_teacher_regression`, :func:`make_spirals`,
:func:`make_signs` and :func:`make_relu_distribution`: the simulations of the papers,
with their corruptions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from ._generators import make_signs, make_spirals, make_teacher_regression
from ._relu.generator import make_relu_distribution
from ._sources import CATALOGUE, KINDS, Arrays, download, strings
from ._words import parameter_error

__all__ = [
    "fetch_classification",
    "fetch_dataset",
    "fetch_outlier",
    "fetch_regression",
    "get_data_home",
    "list_datasets",
    "make_relu_distribution",
    "make_signs",
    "make_spirals",
    "make_teacher_regression",
]


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the data sets.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder. None takes the environment variable ``SKROBUST_DATA``, and without
        it ``~/skrobust_data``. A leading ``~`` is the user's home.

    Returns
    -------
    data_home : pathlib.Path
        The folder, which need not exist: the first download makes it.

    Examples
    --------
    >>> from skrobust.datasets import get_data_home
    >>> get_data_home("data").name
    'data'
    """
    if data_home is None:
        data_home = os.environ.get("SKROBUST_DATA") or Path("~", "skrobust_data")
    return Path(data_home).expanduser()


def list_datasets(kind: str | None = None) -> list[str]:
    """List the names of the data sets known here.

    Parameters
    ----------
    kind : {'classification', 'outlier', 'regression'}, default=None
        Kind of the data sets; None for all kinds. Some names exist in two kinds.

    Returns
    -------
    names : list of str
        The names, sorted. Those of `fetch_dataset`, whether or not the data home has
        them already.

    Raises
    ------
    ValueError
        If `kind` is unknown.

    Examples
    --------
    >>> from skrobust.datasets import list_datasets
    >>> "thyroid" in list_datasets("outlier")
    True
    """
    _check_kind(kind, "list_datasets")
    return sorted({name for its_kind, name in CATALOGUE if kind in (None, its_kind)})


def fetch_dataset(
    name: str,
    *,
    kind: str | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Load a data set from the data home, downloading it first where needed.

    Parameters
    ----------
    name : str
        Name of the data set, one of :func:`list_datasets` or of a file in the home.
    kind : {'classification', 'outlier', 'regression'}, default=None
        Kind of the data set; needed for a name that exists in two kinds.
    data_home : str or path-like, default=None
        Folder of the data, see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download a data set that the home lacks. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` only.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame and `target` a Series.

    Returns
    -------
    dataset : Bunch, or tuple of (data, target) if `return_X_y`
        Dictionary-like object, with the attributes

        data : ndarray of shape (n_samples, n_features), or DataFrame
            Raw values, float32.
        target : ndarray of shape (n_samples,), or Series
            Classes 0, 1, ... (int64), 1 for outliers and 0 for the rest (int64), or
            regression targets (float32).
        feature_names : list of str
            Names of the columns; ``x0, x1, ...`` where they are not known.
        target_names : list of str
            Names of the classes, or of the target.
        origin, source, note, DESCR : str
            Where the file comes from, what data they are, remarks, and all of it.
        name, kind, filename : str
            What was fetched, and the file it was read from.

        and any further array of the file under its own name, such as the human labels
        of `cifar10n_hog` (``y_worse_label``) or the masks of filled and censored
        values of `california_housing`. A download brings no further arrays.

    Raises
    ------
    ValueError
        If `name` or `kind` is unknown, or the name exists in two kinds.
    OSError
        If the data set is not in the home and may not or cannot be downloaded, or
        its file cannot be read.

    Examples
    --------
    >>> from skrobust.datasets import fetch_dataset
    >>> data = fetch_dataset("thyroid")  # doctest: +SKIP
    >>> data.data.shape  # doctest: +SKIP
    (3772, 6)
    """
    home = get_data_home(data_home)
    kind = _find_kind(name, kind, home)
    path = home / kind / f"{name}.npz"
    if not path.is_file():
        download(kind, name, path, download_if_missing)
    dataset = _as_bunch(kind, name, path)
    if as_frame:
        _use_frames(dataset)
    return (dataset.data, dataset.target) if return_X_y else dataset


def fetch_classification(name: str, **options: Any) -> Any:
    """Load a data set for classification.

    Parameters
    ----------
    name : str
        Name of the data set, one of ``list_datasets("classification")``.
    **options
        Parameters of :func:`fetch_dataset`.

    Returns
    -------
    dataset : Bunch, or tuple of (data, target) if `return_X_y`
        See :func:`fetch_dataset`.

    Examples
    --------
    >>> from skrobust.datasets import fetch_classification
    >>> X, y = fetch_classification("letter", return_X_y=True)  # doctest: +SKIP
    """
    return fetch_dataset(name, kind="classification", **options)


def fetch_outlier(name: str, **options: Any) -> Any:
    """Load a data set for outlier detection; its target is 1 for outliers.

    Parameters
    ----------
    name : str
        Name of the data set, one of ``list_datasets("outlier")``.
    **options
        Parameters of :func:`fetch_dataset`.

    Returns
    -------
    dataset : Bunch, or tuple of (data, target) if `return_X_y`
        See :func:`fetch_dataset`.

    Examples
    --------
    >>> from skrobust.datasets import fetch_outlier
    >>> X, y = fetch_outlier("letter", return_X_y=True)  # doctest: +SKIP
    """
    return fetch_dataset(name, kind="outlier", **options)


def fetch_regression(name: str, **options: Any) -> Any:
    """Load a data set for regression.

    Parameters
    ----------
    name : str
        Name of the data set, one of ``list_datasets("regression")``.
    **options
        Parameters of :func:`fetch_dataset`.

    Returns
    -------
    dataset : Bunch, or tuple of (data, target) if `return_X_y`
        See :func:`fetch_dataset`.

    Examples
    --------
    >>> from skrobust.datasets import fetch_regression
    >>> X, y = fetch_regression("concrete", return_X_y=True)  # doctest: +SKIP
    """
    return fetch_dataset(name, kind="regression", **options)


def _check_kind(kind: str | None, owner: str) -> None:
    if kind is not None and not (isinstance(kind, str) and kind in KINDS):
        expected = f"a str among {list(KINDS)} or None"
        raise parameter_error("kind", owner, expected, kind)


def _find_kind(name: str, kind: str | None, home: Path) -> str:
    """Return the one kind in which a data set of this name is known or at hand."""
    _check_kind(kind, "fetch_dataset")
    if not isinstance(name, str):
        expected = "a str, the name of a data set"
        raise parameter_error("name", "fetch_dataset", expected, name)
    found = [
        k
        for k in KINDS
        if kind in (None, k)
        and Path(name).name == name  # no paths
        and ((k, name) in CATALOGUE or (home / k / f"{name}.npz").is_file())
    ]
    if not found:
        raise ValueError(
            f"Unknown data set {name!r}{f' of kind {kind!r}' if kind else ''}. Known "
            f"are {list_datasets(kind)}, and the files in {home}."
        )
    if len(found) > 1:
        raise ValueError(
            f"The data set {name!r} exists in several kinds. Pass `kind`, one of "
            f"{found}."
        )
    return found[0]


def _as_bunch(kind: str, name: str, path: Path) -> Bunch:
    """Read a file of the data home."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: Arrays = {key: archive[key] for key in archive.files}
        X, y = arrays.pop("X"), arrays.pop("y")
    except Exception as error:
        raise OSError(f"{path} is not a data set of skrobust: {error!r}") from error
    labels = [str(label) for label in np.unique(y)] if kind == "classification" else []
    names = {"outlier": ["inlier", "outlier"], "regression": ["target"]}
    columns = arrays.pop("feature_names", [f"x{i}" for i in range(X.shape[1])])
    text = {key: str(arrays.pop(key, "")) for key in ("source", "origin", "note")}
    description = [f"{name} ({kind}): {X.shape[0]} rows, {X.shape[1]} features"]
    description += [f"{key}: {value}" for key, value in text.items() if value]
    return Bunch(
        data=X,
        target=y,
        feature_names=strings(columns),
        target_names=strings(arrays.pop("target_names", names.get(kind, labels))),
        DESCR="\n".join(description),
        name=name,
        kind=kind,
        filename=str(path),
        **text,
        **{key: a.item() if a.ndim == 0 else a for key, a in arrays.items()},
    )


def _use_frames(dataset: Bunch) -> None:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("fetch_dataset(as_frame=True) requires pandas.") from error
    dataset.data = pd.DataFrame(dataset.data, columns=dataset.feature_names)
    dataset.target = pd.Series(dataset.target, name="target")
