"""Displays: what training did, whom it distrusted, and what depends on epsilon.

They follow scikit-learn's protocol. A class method ``from_estimator`` (or
``from_predictions``, ``from_search``) computes the numbers and draws them; the numbers
stay on the display, ``plot`` draws them again, and ``ax_`` and ``figure_`` are
matplotlib's own objects, to go on with. Matplotlib is imported when something is
drawn, not before.
"""

from ._contour import ScoreContourDisplay
from ._curve import TrainingCurveDisplay
from ._histogram import ScoreHistogramDisplay
from ._rows import KeptRowsDisplay
from ._sensitivity import SensitivityDisplay

__all__ = [
    "KeptRowsDisplay",
    "ScoreContourDisplay",
    "ScoreHistogramDisplay",
    "SensitivityDisplay",
    "TrainingCurveDisplay",
]
