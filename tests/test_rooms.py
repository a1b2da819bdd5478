"""The rooms of the house: who may know whom, read off the import statements."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skrobust

HOUSE = Path(skrobust.__file__).parent
FILES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts): ast.parse(path.read_text())
    for path in HOUSE.rglob("*.py")
}
LIBRARIES = {"matplotlib", "numpy", "scipy", "sklearn", "torch", "pandas", "joblib"}
MACHINE = {"_batch", "_comm", "_ghost", "_modules", "_nets", "_optim", "_stack"}
MACHINE |= {"_blocks", "_dropout", "_ensemble", "_flow", "_linear", "_train"}
MACHINE |= {"_products", "_served", "_softmax", "_turns", "_vae"}

# room: (libraries it may import, rooms of the house it may import)
TABLE = {
    "rules": ({"torch"}, {"_blocks", "_words"}),
    "_blocks": ({"torch"}, set()),
    "_turns": ({"torch"}, set()),
    "_dequantize": ({"numpy"}, {"_words"}),
    "criteria": ({"torch"}, {"_batch", "_softmax", "_words"}),
    "_softmax": ({"torch"}, set()),
    "_served": ({"torch"}, set()),
    "steps": ({"torch"}, {"_batch", "_comm", "_words", "criteria", "rules"}),
    "_batch": ({"torch"}, {"_blocks"}),
    "_comm": ({"torch"}, set()),
    "_ghost": ({"torch"}, set()),
    "_nets": ({"torch"}, set()),
    "_optim": ({"torch"}, set()),
    "_dropout": ({"torch"}, set()),
    "_ensemble": ({"torch"}, set()),
    "_products": ({"torch"}, set()),
    "_stack": ({"numpy", "torch"}, {"_batch", "_dropout", "_nets", "_products"}),
    "_modules": ({"torch"}, {"_batch", "_dropout", "_ghost"}),
    "_vae": ({"torch"}, {"_nets"}),
    "_flow": ({"torch"}, {"_batch", "_nets", "_products"}),
    "_linear": ({"numpy", "torch"}, {"_stack"}),
    "_train": ({"torch"}, {"_batch", "_comm", "_turns", "steps"}),
    "_keys": ({"numpy"}, set()),
    "_contamination": ({"numpy"}, {"_keys", "_scaling"}),
    "_rejection": ({"numpy"}, {"_keys", "_scaling"}),
    "_words": (set(), set()),
    "corruption": ({"numpy", "sklearn"}, {"_words"}),
    "_row_losses": ({"numpy", "sklearn"}, set()),
    "_aggregates": ({"numpy", "sklearn"}, {"_words"}),
    "metrics": ({"numpy", "sklearn"}, {"_aggregates", "_row_losses", "_words"}),
    # A method of its own, with no network to train: a folder that is one room.
    "_relu": (
        {"numpy", "scipy", "sklearn"},
        {"_border", "_keys", "_scaling", "_words"},
    ),
    # Displays read fitted attributes and know no estimator of the house.
    "inspection": ({"matplotlib", "numpy", "sklearn"}, set()),
    # Generators are drawn where their distribution lives and offered here.
    "_generators": ({"numpy", "sklearn"}, {"_words"}),
    "_sources": ({"numpy", "scipy", "sklearn"}, set()),
    "datasets": (
        {"numpy", "pandas", "sklearn"},
        {"_generators", "_relu.generator", "_sources", "_words"},
    ),
}


def imports(file: str) -> set[str]:
    """Full names of what a file imports; rooms of the house start with a dot."""
    found = set()
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [a.name for a in node.names]
            here = ["", *file.split(".")[: -node.level]]
            found |= {".".join([*here, name]) for name in names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", TABLE)
def test_a_room_knows_no_more_than_it_may(room):
    files = [file for file in FILES if f"{file}.".startswith(f"{room}.")]
    names = set().union(*map(imports, files))
    libraries, rooms = TABLE[room]
    outside = {name.split(".")[0] for name in names if name[0] != "."}
    assert files and outside & LIBRARIES <= libraries
    inside = {name[1:] for name in names if name[0] == "."}
    assert {name for name in inside if not name.startswith(f"{room}.")} <= rooms


def test_one_room_talks_to_other_processes():
    for room, tree in FILES.items():
        if room != "_comm":
            used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            assert "distributed" not in used, room
            assert not any("torch.distributed" in name for name in imports(room)), room


def test_estimators_leave_gradients_to_the_machine():
    for room, tree in FILES.items():
        calls = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        if room not in MACHINE:
            assert "backward" not in calls, room
        if room.split(".")[0] not in MACHINE | {"criteria"}:
            assert "autograd" not in calls, room


def test_nothing_in_the_machine_reaches_up_to_the_border():
    below = MACHINE | {"rules", "criteria", "steps"}
    for file in (file for file in FILES if file.split(".")[0] in below):
        outside = {name.split(".")[0] for name in imports(file)}
        assert "sklearn" not in outside, file


def test_a_first_fit_loads_neither_the_compiler_nor_matplotlib():
    code = (
        "import sys, skrobust\n"
        "from sklearn.datasets import make_moons\n"
        "X, y = make_moons(40, random_state=0)\n"
        "skrobust.PRLClassifier(max_iter=2, ramp=1).fit(X, y).predict(X)\n"
        "skrobust.NetRegressor(max_iter=2, solver='sgd').fit(X, y)\n"
        "skrobust.NetOutlierDetector(max_iter=2).fit(X)\n"
        "many = X.repeat(10, 0).astype('float32')  # large matrix products\n"
        "skrobust.NetClassifier(max_iter=2).fit(many, y.repeat(10))\n"
        "bad = {'torch._dynamo', 'torch._inductor', 'matplotlib'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
