"""
Your own network
================

Every estimator takes a factory of networks in place of its own multilayer perceptron.
Here two small convolutional networks look at images of digits and choose the rows for
each other: PRL(G) with co-training.
"""

# %%
# Images of shape (n, 1, 8, 8), a third of whose training labels are wrong in one
# way: 0 is called 1, 1 is called 2 and so on.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skrobust import PRLClassifier
from skrobust.corruption import pairflip
from skrobust.recipes import standard

digits = load_digits()
images = digits.images[:, None].astype("float32") / 16
X, X_test, y, y_test = train_test_split(
    images, digits.target, stratify=digits.target, random_state=0
)
y, wrong = pairflip(y, 0.33, random_state=0)

# %%
# A factory is a function of the shape of a row and the number of outputs. It is
# called once for each network, in each fit, so every fit starts afresh; since it is
# an ordinary function of a module, the estimator can be cloned and pickled.


def network(row_shape, n_classes):
    channels, height, width = row_shape
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * (height // 2) * (width // 2), n_classes),
    )


SHARED = {"network": network, "batch_size": 64, "max_iter": 40, "random_state": 0}
plain = standard(**SHARED).fit(X, y)
robust = PRLClassifier(epsilon=0.4, score="gradient", co_training=True, **SHARED)
robust.fit(X, y)

# %%
# Ranking by the gradients of all weights costs one more backward pass and no
# gradient a row, because the layers are linear maps and convolutions.
accuracy = {
    "plain training": plain.score(X_test, y_test),
    "PRL(G), two networks": robust.score(X_test, y_test),
}
for name, value in accuracy.items():
    print(f"{name}: {value:.3f}")
print(f"wrong labels found: {(~robust.inlier_mask_)[wrong].mean():.0%}")

# %%
# The two accuracies on clean test labels.
fig, ax = plt.subplots(figsize=(6, 2), layout="constrained")
bars = ax.barh(list(accuracy), list(accuracy.values()), color=["C1", "C0"])
ax.bar_label(bars, fmt="%.2f")
ax.set(xlim=(0, 1.1), xlabel="accuracy, clean test labels")
ax.invert_yaxis()
plt.show()
