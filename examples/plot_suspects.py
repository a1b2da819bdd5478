"""
Which rows were distrusted
==========================

A fitted estimator says which training rows it left out. On data that come with
unnoticed mistakes, those are the rows to look at first.
"""

# %%
# Digits, 15 percent of whose labels are wrong. The estimator is told to leave out
# a fifth of the rows: some right labels go too, but few wrong ones stay.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrobust import PRLClassifier
from skrobust.corruption import symmetric

X, y = load_digits(return_X_y=True)
labels, wrong = symmetric(y, 0.15, random_state=0)
model = PRLClassifier(
    epsilon=0.2, hidden_layer_sizes=(64, 64), max_iter=60, random_state=0
)
model.fit(X, labels)

# %%
# ``inlier_mask_`` has one entry a training row, ``sample_weight_`` what is left of
# the row's weight.
suspect = ~model.inlier_mask_
print(f"wrong labels found:      {suspect[wrong].mean():.0%}")
print(f"right labels distrusted: {suspect[~wrong].mean():.0%}")

# %%
# The first suspects in the data: the label they came with, and what the model
# thinks. Titles are red where the label is indeed wrong.
shown = np.flatnonzero(suspect)[:24]
guesses = model.predict(X[shown])
fig, axes = plt.subplots(3, 8, figsize=(9, 4.2), layout="constrained")
for ax, row, guess in zip(axes.flat, shown, guesses, strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    color = "C3" if wrong[row] else "black"
    ax.set_title(f"{labels[row]}, rather {guess}", color=color, fontsize=9)
    ax.set_axis_off()

# %%
# Some rows that it distrusted without need: odd hands, for the most part.
needless = np.flatnonzero(suspect & ~wrong)[:24]
fig, axes = plt.subplots(3, 8, figsize=(9, 4.2), layout="constrained")
for ax, row in zip(axes.flat, needless, strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{labels[row]}", fontsize=9)
    ax.set_axis_off()
plt.show()
