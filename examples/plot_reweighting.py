"""
Wrong labels lose their weight
==============================

Multiplicative reweighting multiplies, after every epoch, the weight of each training
row by ``exp(-eta * loss)``. These are the figures of the paper's appendix B on real
data: how much of the weight rests on wrong labels, and where among the weights they
end up.
"""

# %%
# Digits with 20 and 40 percent of their labels moved to any other class. One call of
# ``partial_fit`` is one epoch, after which ``sample_weight_`` is what each row counts.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skrobust import MRClassifier
from skrobust.corruption import symmetric

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(
    X.astype("float32"), y, test_size=0.3, random_state=0
)
N_EPOCHS = 60


def train(rate, eta):
    """Return the labels' mask, and by epoch the weights and the clean accuracy."""
    labels, wrong = symmetric(y, rate, random_state=0)
    model = MRClassifier(eta, hidden_layer_sizes=(128, 128), random_state=0)
    weights, accuracy = [], []
    for _ in range(N_EPOCHS):
        model.partial_fit(X, labels, classes=np.unique(y))
        weights.append(model.sample_weight_)
        accuracy.append(model.score(X_test, y_test))
    return wrong, np.array(weights), accuracy


runs = {rate: {eta: train(rate, eta) for eta in (0.0, 0.1)} for rate in (0.2, 0.4)}

# %%
# The share of all weight that wrong labels hold falls from their number to nearly
# nothing. Beside it is the accuracy on clean test rows, dashed for plain training,
# which in the meantime learns the wrong labels by heart.
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
epochs = np.arange(1, N_EPOCHS + 1)
for (rate, run), color in zip(runs.items(), ("C0", "C3"), strict=True):
    wrong, weights, accuracy = run[0.1]
    share = weights[:, wrong].sum(1) / weights.sum(1)
    left.plot(epochs, share, color, label=f"{rate:.0%} wrong labels")
    right.plot(epochs, accuracy, color)
    right.plot(epochs, run[0.0][2], color, linestyle="--")
    print(f"{rate:.0%} wrong: they end with {share[-1]:.1%} of the weight; accuracy "
          f"{accuracy[-1]:.1%}, plain training {run[0.0][2][-1]:.1%}")  # fmt: skip
left.set(xlabel="epoch", ylabel="share of the weight on wrong labels", ylim=0)
left.legend()
right.set(xlabel="epoch", ylabel="accuracy, clean test rows")

# %%
# Rows by weight, the lightest tenth first: which part of each tenth is wrong. With 40
# percent of wrong labels the four lightest tenths hold nearly all of them, so the
# weights tell which rows to look at. Dashed: what chance would give.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
for ax, (rate, run) in zip(axes, runs.items(), strict=True):
    wrong, weights, _ = run[0.1]
    tenths = np.array_split(np.argsort(weights[-1]), 10)
    ax.bar(np.arange(5, 100, 10), [wrong[rows].mean() for rows in tenths], width=9)
    ax.axhline(rate, color="0.4", linestyle="--")
    ax.set(xlabel="percentile of the weight", title=f"{rate:.0%} wrong labels")
axes[0].set_ylabel("share of wrong labels")

# %%
# Does the height of a weight say how well its row is learned? Losses of the rightly
# and the wrongly labelled rows under the final network, against their weights: wrong
# ones lie at the lower right, and few right ones keep them company.
labels, wrong = symmetric(y, 0.4, random_state=0)
model = MRClassifier(
    0.1, hidden_layer_sizes=(128, 128), max_iter=N_EPOCHS, random_state=0
).fit(X, labels)
loss = -np.log(model.predict_proba(X)[np.arange(len(X)), labels])
fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
for mask, name in ((~wrong, "right label"), (wrong, "wrong label")):
    ax.plot(loss[mask], model.sample_weight_[mask] + 1e-12, ".", label=name, alpha=0.5)
ax.set(xscale="log", yscale="log", xlabel="loss", ylabel="weight")
ax.legend()
plt.show()
