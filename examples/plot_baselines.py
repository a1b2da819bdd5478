"""
All recipes side by side
========================

Every method of :mod:`skrobust.recipes` learns from the same wrong targets and is
judged on clean ones: digits, of whose labels a third are moved to the next digit, and
a smooth function, a third of whose values are wrong in one of four ways.
"""

# %%
# The two tasks. Only the training targets are corrupted.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_friedman1
from sklearn.model_selection import train_test_split

from skrobust.corruption import mixture, pairflip
from skrobust.recipes import make_baselines

RATE, SEEDS = 0.35, (0, 1)


def digits(seed):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    return X, pairflip(y, RATE, random_state=seed)[0], X_test, y_test


def friedman(seed):
    X, y = make_friedman1(1200, n_features=10, noise=0.5, random_state=seed)
    y = (y - y.mean()) / y.std()
    X, X_test, y, y_test = train_test_split(X, y, random_state=seed)
    return X, mixture(y, RATE, X=X, random_state=seed)[0], X_test, y_test


# %%
# One loop serves both, since all recipes are called alike. ``epsilon`` goes to those
# that leave rows out: a little more than the share of wrong targets. As in the
# papers, batches have 128 rows and no method gets help from weight decay.
SHARED = {"hidden_layer_sizes": (64, 64), "max_iter": 60, "n_iter_no_change": 60}
SHARED |= {"batch_size": 128, "weight_decay": 0.0}


def compare(task, draw):
    scores = {}
    for seed in SEEDS:
        X, y, X_test, y_test = draw(seed)
        models = make_baselines(task, RATE + 0.05, random_state=seed, **SHARED)
        for name, model in models.items():
            score = model.fit(X.astype("float32"), y).score(X_test, y_test)
            scores.setdefault(name, []).append(score)
    return scores


results = {
    "accuracy on digits": compare("classification", digits),
    "R² on a smooth function": compare("regression", friedman),
}

# %%
# Scores on clean test rows, the mean over two seeds.
for title, scores in results.items():
    print(title)
    for name, values in scores.items():
        print(f"  {name:<20}{np.mean(values):6.3f}")

# %%
# Points are seeds. The vertical line is plain training.
fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, (title, scores) in zip(axes, results.items(), strict=True):
    for place, values in enumerate(scores.values()):
        ax.plot(values, [place] * len(values), "o", color="C0", alpha=0.6)
    ax.axvline(np.mean(scores["standard"]), color="0.7", zorder=0)
    ax.set_yticks(range(len(scores)), scores)
    ax.invert_yaxis()
    ax.set_xlabel(title)
plt.show()
