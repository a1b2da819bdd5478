"""
A density that keeps out of a cluster of outliers
=================================================

Two moons, and five percent of outliers: spread evenly, or in one dense cluster. A flow
that learns from all rows learns the cluster too. Leaving out unlikely rows helps, and
keeping the flow smooth helps it not to close in on what is left of the cluster.
(Dissertation, section 3.5.1, figures 3.2 and 3.3.)
"""

# %%
# The two kinds of outliers.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score

from skrobust import RobustRealNVPDetector

N, N_ODD = 4000, 210
kinds = {
    "clustered": lambda rng, n: rng.normal(2.5, 0.05, size=(n, 2)),
    "uniform": lambda rng, n: 5 * (rng.uniform(size=(n, 2)) - 0.35),
}
flows = {
    "RealNVP": {"epsilon": 0.0, "lipschitz": None},
    "trimmed": {"lipschitz": None},
    "robust": {},
}

# %%
# Each flow learns from the contaminated rows. Judged are fresh rows: how well the
# score tells normal ones from outliers, and the mean log density of the normal ones.
u = np.linspace(-2, 3.25, 120)
grid = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2)
fresh, _ = make_moons(2000, noise=0.1, random_state=1)
fig, axes = plt.subplots(2, 4, figsize=(10, 5), layout="constrained")
for row, (kind, draw) in zip(axes, kinds.items(), strict=True):
    rng = np.random.default_rng(0)
    clean, _ = make_moons(N, noise=0.1, random_state=0)
    odd, fresh_odd = draw(rng, N_ODD), draw(rng, 1000)
    X = np.r_[clean, odd]
    row[0].scatter(*clean.T, s=1, alpha=0.3)
    row[0].scatter(*odd.T, s=2, color="C1", label="outliers")
    row[0].legend(loc="upper left", markerscale=3)
    row[0].set_title(f"{kind} outliers")
    for ax, (name, params) in zip(row[1:], flows.items(), strict=True):
        flow = RobustRealNVPDetector(max_iter=25, random_state=0, **params).fit(X)
        scores = flow.score_samples(np.r_[fresh, fresh_odd])
        auc = roc_auc_score(np.arange(len(scores)) < len(fresh), scores)
        density = scores[: len(fresh)].mean()
        print(f"{kind:10} {name:8} AUC {auc:.3f}, mean log density {density:.2f}")
        picture = np.exp(flow.score_samples(grid)).reshape(len(u), -1)
        ax.contourf(u, u, picture**0.5, levels=20)
        ax.set_title(f"{name}: AUC {auc:.3f}")
for ax in axes.flat:
    ax.set(xlim=(-2, 3.25), ylim=(-2, 3.25), xticks=[], yticks=[])
plt.show()
