"""
======================================================
The distribution of a ReLU network, seen past outliers
======================================================

Rows of ``max(W z + b, 0)`` are mixed with rows from elsewhere. The default solver
recovers ``Sigma = W W^T`` and ``b`` as well as from the clean rows alone; the filtered
moments of the source do not, and without a filter the outliers decide.
"""

# %%
# One row in five is an outlier, and a mild one: N(2, 1) in every entry.
import warnings

import matplotlib.pyplot as plt
import numpy as np

from skrobust import ReLUDistributionEstimator
from skrobust.datasets import make_relu_distribution

X, W, b, clean = make_relu_distribution(
    8000, 5, contamination=0.2, outliers=(2.0, 1.0), random_state=0
)
models = {
    "no filter": ReLUDistributionEstimator(solver="newton", filter=None),
    "median of blocks": ReLUDistributionEstimator(solver="newton", contamination=0.2),
    "likelihood": ReLUDistributionEstimator(),
}
with warnings.catch_warnings():
    # The first two may find moments that no truncated normal law has.
    warnings.simplefilter("ignore")
    for model in models.values():
        model.fit(X)

# %%
# Errors relative to the size of W.
size = (W**2).sum()
for name, model in models.items():
    sigma = np.linalg.norm(model.covariance_ - W @ W.T) / size
    bias = np.linalg.norm(model.bias_ - b) / np.sqrt(size)
    print(f"{name:18s} Sigma {sigma:.3f}   b {bias:.3f}")

# %%
# The fitted trust in each row, and the estimated covariances.
best = models["likelihood"]
fig, axes = plt.subplots(2, 2, figsize=(9, 7.5), layout="constrained")
axes = axes.flat
bins = np.linspace(0, 1, 31)
axes[0].hist(best.sample_weight_[clean], bins, alpha=0.6, label="clean rows")
axes[0].hist(best.sample_weight_[~clean], bins, alpha=0.6, label="outliers")
axes[0].set(xlabel="trust", ylabel="rows", yscale="log")
axes[0].legend()
for ax, (name, model) in zip(axes[1:], models.items(), strict=True):
    image = ax.imshow(model.covariance_, vmin=-1, vmax=2, cmap="RdBu_r")
    ax.set(title=name, xlabel="column", ylabel="column")
fig.colorbar(image, ax=axes[1:], label="covariance")
plt.show()
