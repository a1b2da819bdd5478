"""One coordinate at a time: a censored normal with outlying entries beside it.

Three descriptions compete for every column: clean; clean and scattered outliers
(heavy tail); clean, scattered and clustered outliers (a second censored normal). The
simplest one that the likelihood does not refute is kept, so that clean columns pay
nothing for the protection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_ndtr, ndtr

from .bins import Binned

_LOG_2PI = float(np.log(2.0 * np.pi))
_STARTS = (0.0, 0.2, 0.35)
_LEAST_SCALE = 1e-6  # columns come in units of a typical positive entry


@dataclass(frozen=True)
class Margins:
    """Fitted columns; every field is an array of shape (n_features,).

    ``mean, scale`` describe the clean entries, ``bump_mean, bump_scale`` the
    clustered outliers, ``tail`` the median of the scattered ones, ``bump, broad``
    the shares of the two kinds of outliers.
    """

    mean: np.ndarray
    scale: np.ndarray
    bump_mean: np.ndarray
    bump_scale: np.ndarray
    tail: np.ndarray
    bump: np.ndarray
    broad: np.ndarray

    def log_parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-density of clean and of outlying entries, each with its share."""
        share = np.maximum(1.0 - self.bump - self.broad, 1e-12)
        clean = np.log(share) + log_censored(x, self.mean, self.scale)
        bump = _log(self.bump) + log_censored(x, self.bump_mean, self.bump_scale)
        broad = _log(self.broad) + log_broad(x, self.tail)
        return clean, np.logaddexp(bump, broad)

    def cell_weights(self, x: np.ndarray) -> np.ndarray | None:
        """Probability that each entry is clean; None where no column doubts it."""
        if not np.any(self.bump + self.broad):
            return None
        clean, outlying = self.log_parts(x)
        return 1.0 / (1.0 + np.exp(np.minimum(outlying - clean, 500.0)))


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, 1e-300))


def log_censored(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Log-density of ``max(y, 0)`` for y normal; columns last."""
    u = np.clip((x - mean) / scale, -1e8, 1e8)
    return np.where(
        x > 0, -0.5 * u * u - np.log(scale) - 0.5 * _LOG_2PI, log_ndtr(-mean / scale)
    )


def log_broad(x: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Log-density of a Lomax law of median ``tail``; a zero is never scattered."""
    return np.where(x > 0, -np.log(tail) - 2.0 * np.log1p(x / tail), -690.0)


def _quantile_start(data: Binned, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Match two quantiles, as if a share of the entries lay above all others."""
    mass = np.vstack([data.zero[None], data.count]).cumsum(axis=0)
    x = np.vstack([np.zeros((1, len(data.zero))), np.maximum.accumulate(data.x)])
    levels = np.array([0.4, 0.55, 0.8])
    normal = np.array([-0.2533, 0.1257, 0.8416])
    found = []
    for level in levels:
        place = (mass < level * (1 - share) * mass[-1]).sum(0)
        found.append(np.take_along_axis(x, place[None], 0)[0])
    low, mid, high = found
    usable = low > 0
    anchor, z = np.where(usable, low, mid), np.where(usable, normal[0], normal[1])
    scale = (high - anchor) / (normal[2] - z)
    scale = np.maximum(scale, 1e-3 * np.maximum(high, 1e-3))
    return np.maximum(high - normal[2] * scale, 0.0), scale


def _em(data: Binned, m: Margins, with_bump: bool, n_steps: int) -> Margins:
    """Alternate between the shares of the bins and the laws they describe."""
    x, mass = data.x, data.count.sum(0) + data.zero
    mass = np.where(mass > 0, mass, 1.0)
    zeros = np.zeros_like(data.zero)
    for _ in range(n_steps):
        shares = []
        for at in (zeros[None], x):
            parts = _three_parts(m, at)
            top = parts.max(axis=0)
            parts = np.exp(parts - top)
            shares.append(parts / parts.sum(axis=0))
        at_zero, at_pos = shares[0][:, 0], shares[1]
        mean, scale = data.fit(at_zero[0], at_pos[0])
        floor = np.maximum(0.02 * m.scale, _LEAST_SCALE)
        old = m
        m = replace(
            m,
            mean=mean,
            scale=np.maximum(scale, floor),
            broad=(data.count * at_pos[2]).sum(0) / mass,
        )
        if with_bump:
            mean, scale = data.fit(at_zero[1], at_pos[1], nonnegative=False)
            share = (data.zero * at_zero[1] + (data.count * at_pos[1]).sum(0)) / mass
            floor = np.maximum(0.05 * m.scale, data.gap)
            scale = np.maximum(scale, floor)
            m = replace(m, bump_mean=mean, bump_scale=scale, bump=share)
        if np.all(np.abs(m.mean - old.mean) <= 1e-7 * m.scale) and np.all(
            np.abs(m.scale - old.scale) <= 1e-7 * m.scale
        ):
            break
    return m


def _three_parts(m: Margins, x: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            _log(1.0 - m.bump - m.broad) + log_censored(x, m.mean, m.scale),
            _log(m.bump) + log_censored(x, m.bump_mean, m.bump_scale),
            _log(m.broad) + log_broad(x, m.tail),
        ]
    )


def _log_likelihood(data: Binned, m: Margins) -> np.ndarray:
    pos = np.logaddexp(*m.log_parts(data.x))
    at_zero = np.logaddexp(*m.log_parts(np.zeros((1, len(data.zero)))))[0]
    return (data.count * pos).sum(0) + data.zero * at_zero


def _start(data: Binned, share: float) -> Margins:
    mean, scale = _quantile_start(data, share)
    beyond = (data.x > mean + 2.5 * scale) & (data.count > 0)
    n_beyond = np.where(beyond, data.count, 0.0).sum(0)
    centre = np.where(beyond, data.first, 0.0).sum(0) / np.maximum(n_beyond, 1e-300)
    centre = np.where(n_beyond > 0, centre, mean + 4.0 * scale)
    zeros = np.zeros_like(mean)
    tail = mean + scale
    return Margins(
        mean, scale, centre, scale, tail, zeros + max(share, 0.02), zeros + 0.01
    )


def _excess_start(data: Binned, plain: Margins) -> Margins:
    """Start a cluster where the entries are denser than one normal law allows."""
    mass = np.vstack([data.zero[None], data.count]).cumsum(axis=0)[1:]
    x = np.maximum.accumulate(data.x)
    surplus = mass / np.maximum(mass[-1], 1e-300)
    surplus = surplus - ndtr(((x - plain.mean) / plain.scale).clip(-40, 40))
    width = 12
    place = np.argmax(surplus[width:] - surplus[:-width], axis=0)
    low, high = (
        np.take_along_axis(x, (place + k)[None], axis=0)[0] for k in (0, width)
    )
    zeros = np.zeros_like(plain.mean)
    return replace(
        plain,
        bump_mean=0.5 * (low + high),
        bump_scale=np.maximum(0.5 * (high - low), 0.05 * plain.scale),
        bump=zeros + 0.1,
        broad=zeros + 0.01,
    )


def _pick(better: np.ndarray, new: Margins, old: Margins) -> Margins:
    fields = Margins.__dataclass_fields__
    return Margins(
        *(np.where(better, getattr(new, f), getattr(old, f)) for f in fields)
    )


def fit_margins(data: Binned, warm: Margins | None = None) -> tuple[Margins, Margins]:
    """Fit all columns and choose each one's description.

    Parameters
    ----------
    data : Binned
        The columns.
    warm : Margins or None
        Earlier three-part fit to continue from; None tries several starts.

    Returns
    -------
    chosen, full : Margins
        The description kept, and the three-part fit to continue from.
    """
    zeros = np.zeros_like(data.zero)
    mean, scale = data.fit(zeros + 1.0, np.ones_like(data.count))
    dead = scale <= _LEAST_SCALE
    plain = Margins(mean, scale, mean, scale, mean + scale, zeros, zeros)
    # A column that lost its spread keeps a sliver of it: nothing divides by zero.
    sliver = 1e-3 * np.where(data.count.any(0), data.x.max(0), 1.0)
    slim = replace(plain, scale=sliver, bump_scale=sliver, tail=mean + sliver)
    safe = _pick(dead, slim, plain)
    if warm is None:
        starts, n_steps = [_start(data, share) for share in _STARTS], 60
        starts.append(_excess_start(data, safe))
    else:
        lift = np.maximum(warm.bump, 1e-3), np.maximum(warm.broad, 1e-4)
        starts, n_steps = [replace(warm, bump=lift[0], broad=lift[1])], 6
    starts = [_pick(dead, safe, s) for s in starts]
    full, value = _best(data, starts, True, n_steps)
    lone = [replace(s, bump=zeros, broad=np.maximum(s.broad, 1e-3)) for s in starts]
    wide, wide_value = _best(data, lone, False, n_steps)
    chosen, best = safe, _log_likelihood(data, safe)
    half_log_n = 0.5 * np.log(np.maximum(data.count.sum(0) + data.zero, 2.0))
    minority = 0.5
    better = (wide_value > best + half_log_n + 2.0) & (wide.broad < minority)
    chosen, best = _pick(better, wide, chosen), np.where(better, wide_value, best)
    better = value > best + 4.0 * half_log_n + 2.0
    better &= (full.bump + full.broad < minority) & ~dead
    chosen = _pick(better, full, chosen)
    return chosen, full


def _best(
    data: Binned, starts: list[Margins], with_bump: bool, n_steps: int
) -> tuple[Margins, np.ndarray]:
    best, value = starts[0], np.full(len(data.zero), -np.inf)
    for k, start in enumerate(starts):
        m = _em(data, start, with_bump, n_steps)
        new = _log_likelihood(data, m)
        # A majority of outliers is a swap of roles, never a fit.
        new = np.where(m.bump + m.broad < 0.5, new, -np.inf)
        best = m if k == 0 else _pick(new > value, m, best)
        value = np.maximum(new, value)
    return best, value
