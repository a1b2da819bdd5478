"""Fixtures that every test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def torch_threads_left_as_they_are() -> Iterator[None]:
    """Whatever a test does, the number of torch threads is its own affair."""
    before = torch.get_num_threads()
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)  # one culprit, not a trail of them
    assert after == before, f"torch had {before} threads, the test left {after}"


@pytest.fixture
def data_home(request: pytest.FixtureRequest) -> Path:
    """Folder of real data sets; skips the test where it is not to be had.

    ``SKROBUST_DATA`` names the folder. A test says which files of it it reads by
    ``@pytest.mark.data("outlier/thyroid.npz")`` and is skipped where one is missing.
    """
    if not os.environ.get("SKROBUST_DATA"):
        pytest.skip("SKROBUST_DATA is not set")
    home = Path(os.environ["SKROBUST_DATA"])
    wanted = [file for mark in request.node.iter_markers("data") for file in mark.args]
    missing = [file for file in wanted if not (home / file).is_file()]
    if missing or not home.is_dir():
        pytest.skip(f"SKROBUST_DATA lacks {', '.join(missing) or home}")
    return home
