"""Laws of the data home and of the downloads into it, none of which use a network."""

from __future__ import annotations

import gzip
import io
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.utils import Bunch

from skrobust import _sources
from skrobust.datasets import (
    fetch_classification,
    fetch_dataset,
    fetch_outlier,
    fetch_regression,
    get_data_home,
    list_datasets,
)

KINDS = ("classification", "outlier", "regression")
FETCHERS = {
    "classification": fetch_classification,
    "outlier": fetch_outlier,
    "regression": fetch_regression,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(_sources, "_fetch_bytes", refuse)
    monkeypatch.setattr(_sources, "fetch_openml", refuse)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A tiny home, named by the environment, with letter in two kinds."""
    for kind, name, arrays in (
        (
            "classification",
            "letter",
            {"target_names": ["A", "B"], "feature_names": ["u", "v"], "n_train": 2},
        ),
        ("outlier", "letter", {"origin": "here", "source": "there", "note": "nothing"}),
        ("regression", "mine", {"y_censored": np.array([True, False, True])}),
    ):
        y = np.array([0, 1, 1], dtype=np.float32 if kind == "regression" else int)
        X = np.arange(6, dtype=np.float32).reshape(3, 2)
        (tmp_path / kind).mkdir()
        np.savez(tmp_path / kind / f"{name}.npz", X=X, y=y, **arrays)
    monkeypatch.setenv("SKROBUST_DATA", str(tmp_path))
    return tmp_path


def test_the_home_is_the_argument_then_the_variable_then_a_folder(monkeypatch):
    monkeypatch.setenv("SKROBUST_DATA", "by-variable")
    assert get_data_home("by-argument") == Path("by-argument")
    assert get_data_home() == Path("by-variable")
    monkeypatch.delenv("SKROBUST_DATA")
    assert get_data_home() == Path.home() / "skrobust_data"
    assert get_data_home("~/data") == Path.home() / "data"


def test_asking_for_the_home_does_not_make_it(tmp_path):
    assert not get_data_home(tmp_path / "new").exists()


def test_lists():
    union = set()
    for kind in KINDS:
        names = list_datasets(kind)
        assert names == sorted(set(names)) and names
        union.update(names)
    assert list_datasets() == sorted(union)
    assert {"letter", "mnist", "pendigits"} == set(list_datasets("outlier")) & set(
        list_datasets("classification")
    )
    with pytest.raises(ValueError, match="'kind' parameter of list_datasets.*'toy'"):
        list_datasets("toy")


def test_what_a_file_holds_is_what_comes(home):
    letter = fetch_classification("letter")
    assert isinstance(letter, Bunch)
    np.testing.assert_array_equal(letter.data, [[0, 1], [2, 3], [4, 5]])
    assert letter.data.dtype == np.float32 and letter.target.dtype == np.int64
    np.testing.assert_array_equal(letter.target, [0, 1, 1])
    assert letter.target_names == ["A", "B"] and letter.feature_names == ["u", "v"]
    assert letter.n_train == 2 and isinstance(letter.n_train, int)
    assert Path(letter.filename) == home / "classification" / "letter.npz"

    outliers = fetch_outlier("letter")
    assert outliers.target_names == ["inlier", "outlier"]
    assert outliers.feature_names == ["x0", "x1"]
    for text in ("letter", "outlier", "3 rows, 2 features", "here", "there", "nothing"):
        assert text in outliers.DESCR
    assert (outliers.origin, outliers.source, outliers.note) == (
        "here",
        "there",
        "nothing",
    )

    mine = fetch_regression("mine")
    np.testing.assert_array_equal(mine.y_censored, [True, False, True])
    assert mine.target.dtype == np.float32 and mine.target_names == ["target"]


@pytest.mark.parametrize("kind", ["classification", "outlier"])
def test_a_name_of_two_kinds_is_told_apart_by_kind(home, kind):
    with pytest.raises(ValueError, match="several kinds.*classification.*outlier"):
        fetch_dataset("letter")
    assert fetch_dataset("letter", kind=kind).kind == kind
    assert FETCHERS[kind]("letter").kind == kind


def test_a_name_known_in_two_kinds_is_ambiguous_even_if_one_is_at_hand(home):
    (home / "outlier" / "letter.npz").unlink()
    with pytest.raises(ValueError, match="several kinds"):
        fetch_dataset("letter")


@pytest.mark.parametrize(
    "name", ["nothing", "../regression/mine", "", "mine.npz", ".."]
)
def test_unknown_names(home, name):
    with pytest.raises(ValueError, match="Unknown data set"):
        fetch_dataset(name)
    with pytest.raises(ValueError, match="of kind 'outlier'"):
        fetch_outlier("mine")
    with pytest.raises(ValueError, match="'kind' parameter of fetch_dataset"):
        fetch_dataset("mine", kind="toy")
    for bad in (3, None, ["mine"], np.array(["mine", "letter"])):
        with pytest.raises(ValueError, match="'name' parameter of fetch_dataset"):
            fetch_dataset(bad)
        if bad is not None:
            with pytest.raises(ValueError, match="'kind' parameter of fetch_dataset"):
                fetch_dataset("mine", kind=bad)


def test_a_home_by_argument_goes_before_the_variable(home, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(ValueError, match="Unknown"):
        fetch_dataset("mine", data_home=other)


def test_the_forms_of_a_data_set(home):
    pd = pytest.importorskip("pandas")
    X, y = fetch_dataset("mine", return_X_y=True)
    assert isinstance(X, np.ndarray) and isinstance(y, np.ndarray)
    frame, series = fetch_classification("letter", return_X_y=True, as_frame=True)
    assert isinstance(frame, pd.DataFrame) and isinstance(series, pd.Series)
    assert list(frame.columns) == ["u", "v"] and (frame.dtypes == np.float32).all()
    np.testing.assert_array_equal(frame, X)
    assert isinstance(fetch_dataset("mine", as_frame=True).data, pd.DataFrame)


def test_files_that_would_run_code_or_lack_arrays_are_refused(home):
    path = home / "regression" / "mine.npz"
    np.savez(path, X=np.array([{}], dtype=object), y=np.zeros(1))
    with pytest.raises(OSError, match="mine.npz is not a data set.*allow_pickle"):
        fetch_dataset("mine")
    np.savez(path, X=np.zeros((2, 2)))
    with pytest.raises(OSError, match="mine.npz is not a data set.*'y'"):
        fetch_dataset("mine")
    path.write_bytes(b"not found")
    with pytest.raises(OSError, match="mine.npz is not a data set"):
        fetch_dataset("mine")


# Downloads.


def as_mat(X, y):
    file = io.BytesIO()
    savemat(file, {"X": X, "y": y[:, None]})
    return file.getvalue()


def as_npz(X, y):
    file = io.BytesIO()
    np.savez(file, X=X, y=y)
    return file.getvalue()


def as_text(table, delimiter, header=None):
    rows = [delimiter.join(repr(float(v)) for v in row) for row in table]
    return "\n".join(([header] if header else []) + rows + [""]).encode()


def as_pmlb(X, y):
    names = [f"A{i}" for i in range(X.shape[1])]
    # The target need not be last.
    table = np.c_[X[:, :1], y, X[:, 1:]]
    header = "\t".join([names[0], "target", *names[1:]])
    return gzip.compress(as_text(table, "\t", header))


def as_r(X, y):
    header = ",".join(['"rownames"'] + [f'"c{i}"' for i in range(X.shape[1])] + ['"z"'])
    return as_text(np.c_[np.arange(len(X)), X, y], ",", header)


def as_uci(X, y):
    return as_text(np.c_[X, y, np.zeros_like(y)], "  ")


def as_csv_gz(X, y):
    return gzip.compress(as_text(np.c_[X, y], ","))


DOWNLOADS = [
    ("outlier", "lympho", (148, 18), as_mat, "lympho.mat"),
    ("outlier", "glass", (214, 9), as_mat, "glass.mat"),
    ("outlier", "breastw", (683, 9), as_npz, "4_breastw.npz"),
    ("classification", "segmentation", (2310, 19), as_pmlb, "segmentation.tsv.gz"),
    ("regression", "classic_stackloss", (21, 3), as_r, "stackloss.csv"),
    ("regression", "classic_stars_cyg", (47, 1), as_r, "starsCYG.csv"),
    ("regression", "yacht", (308, 6), as_uci, "yacht/data/data.txt"),
    ("regression", "airfoil", (1503, 5), as_csv_gz, "airfoil/data.csv.gz"),
]


def made_up(kind, shape):
    rng = np.random.RandomState(0)
    X = rng.normal(size=shape)
    y = rng.normal(size=shape[0])
    if kind == "outlier":
        y = (y > 1).astype(np.uint8)
    if kind == "classification":
        y = np.array([1, 2, 5])[np.arange(shape[0]) % 3]
    return X, y


@pytest.mark.parametrize("kind, name, shape, render, ending", DOWNLOADS)
def test_a_download_is_stored_and_then_used(
    tmp_path, monkeypatch, kind, name, shape, render, ending
):
    X, y = made_up(kind, shape)
    asked = []

    def serve(url):
        asked.append(url)
        return render(X, y)

    monkeypatch.setattr(_sources, "_fetch_bytes", serve)
    home = tmp_path / "new" / "home"
    first = fetch_dataset(name, kind=kind, data_home=home)
    again = FETCHERS[kind](name, data_home=home)
    assert len(asked) == 1 and asked[0].endswith(ending)
    assert asked[0].startswith("https://")
    assert [p.relative_to(home) for p in home.rglob("*.*")] == [
        Path(kind) / f"{name}.npz"
    ]
    for dataset in (first, again):
        np.testing.assert_array_equal(dataset.data, X.astype(np.float32))
        if kind == "classification":
            assert dataset.target_names == ["1", "2", "5"]
            decoded = np.array([1, 2, 5])[dataset.target]
            np.testing.assert_array_equal(decoded, y)
        else:
            np.testing.assert_array_equal(dataset.target, y.astype(np.float32))
        regression = kind == "regression"
        assert dataset.target.dtype == (np.float32 if regression else np.int64)
        assert dataset.origin == asked[0]
        assert len(dataset.feature_names) == shape[1]


def test_names_of_columns_come_along(tmp_path, monkeypatch):
    names = {}
    for kind, name, shape, render, _ in DOWNLOADS:
        served = render(*made_up(kind, shape))
        monkeypatch.setattr(_sources, "_fetch_bytes", lambda url, s=served: s)
        names[name] = FETCHERS[kind](name, data_home=tmp_path).feature_names
    assert names["segmentation"][:3] == ["A0", "A1", "A2"]
    assert names["classic_stackloss"] == ["c0", "c1", "c2"]
    assert names["yacht"][-1] == "froude"
    assert names["lympho"][0] == "x0"


def test_openml(tmp_path, monkeypatch):
    X = np.random.RandomState(0).normal(size=(14980, 14))
    y = np.where(X[:, 0] > 0, "2", "1").astype(object)

    def serve(*, data_id, **options):
        assert data_id == 1471 and not options["cache"]
        return Bunch(data=X, target=y, feature_names=[f"V{i}" for i in range(14)])

    monkeypatch.setattr(_sources, "fetch_openml", serve)
    eeg = fetch_classification("eeg_eye_state", data_home=tmp_path)
    np.testing.assert_array_equal(eeg.target, X[:, 0] > 0)
    assert eeg.target_names == ["1", "2"] and eeg.feature_names[0] == "V0"


@pytest.mark.parametrize(
    "content",
    [b"<html>not found</html>", b"", as_mat(np.zeros((3, 2)), np.zeros(3))],
    ids=["html", "empty", "other data"],
)
@pytest.mark.parametrize("kind, name", [(d[0], d[1]) for d in DOWNLOADS])
def test_a_wrong_file_is_refused_and_not_stored(
    tmp_path, monkeypatch, kind, name, content
):
    monkeypatch.setattr(_sources, "_fetch_bytes", lambda url: content)
    with pytest.raises(OSError, match="download failed"):
        fetch_dataset(name, kind=kind, data_home=tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_rows_without_values_are_refused(tmp_path, monkeypatch):
    X, y = made_up("outlier", (683, 9))
    X[5, 3] = np.nan
    monkeypatch.setattr(_sources, "_fetch_bytes", lambda url: as_npz(X, y))
    with pytest.raises(OSError, match="contains NaN"):
        fetch_outlier("breastw", data_home=tmp_path)


@pytest.mark.parametrize(
    "kind, name", [(kind, name) for kind in KINDS for name in list_datasets(kind)]
)
def test_every_failure_tells_the_way_by_hand(tmp_path, kind, name):
    path = str(tmp_path / kind / f"{name}.npz")
    for allowed, reason in ((False, "download_if_missing"), (True, "data home")):
        with pytest.raises(OSError) as caught:
            fetch_dataset(
                name, kind=kind, data_home=tmp_path, download_if_missing=allowed
            )
        text = str(caught.value)
        assert reason in text and path in text and "https://" in text
        n_samples, n_features = _sources.CATALOGUE[kind, name][:2]
        assert f"({n_samples}, {n_features})" in text
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_downloaded_is_not_tried(tmp_path):
    with pytest.raises(OSError, match="no public download"):
        fetch_regression("lagos_tp", data_home=tmp_path)


# The real home, where there is one.


def test_the_real_files_are_what_the_catalogue_says(data_home):
    seen = 0
    for (kind, name), source in _sources.CATALOGUE.items():
        shape = source[:2]
        if np.prod(shape) > 3e6 or not (data_home / kind / f"{name}.npz").is_file():
            continue
        dataset = fetch_dataset(name, kind=kind)
        seen += 1
        assert dataset.data.shape == shape
        assert dataset.target.shape == shape[:1]
        assert np.isfinite(dataset.data).all() and np.isfinite(dataset.target).all()
        assert len(dataset.feature_names) == shape[1]
        if kind == "outlier":
            assert set(dataset.target) == {0, 1} and dataset.target.mean() < 0.5
        if kind == "classification":
            codes = np.unique(dataset.target)
            np.testing.assert_array_equal(codes, np.arange(len(dataset.target_names)))
        columns = _sources.COLUMNS.get(name)
        assert columns is None or dataset.feature_names == columns.split()
    if not seen:
        pytest.skip("the data home holds no known data set")


@pytest.mark.data("regression/classic_stars_cyg.npz")
def test_the_real_stars(data_home, tmp_path, monkeypatch):
    real = fetch_regression("classic_stars_cyg")
    assert real.data[10, 0] == np.float32(3.49) and real.target[10] == np.float32(5.73)
    served = as_r(real.data, real.target)
    monkeypatch.setattr(_sources, "_fetch_bytes", lambda url: served)
    downloaded = fetch_regression("classic_stars_cyg", data_home=tmp_path)
    np.testing.assert_array_equal(downloaded.data, real.data)
    np.testing.assert_array_equal(downloaded.target, real.target)
