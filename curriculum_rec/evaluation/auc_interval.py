"""An interval of the area under the ROC curve (host), by a formula and not by chance."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit, ndtri
from scipy.stats import rankdata

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import INSIDE_ONE, check_value


def auc_interval(score: np.ndarray, positive: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Give an interval of the AUC over rows like these, positive and negative ones drawn independently.

    The variance is DeLong's; the interval is symmetric for the logit of the AUC, so that it lies in (0, 1).

    Args:
        score: ``[n]``.
        positive: bool ``[n]``, at least two of each kind.
        level: How often such intervals shall hold the true AUC.

    Returns:
        Lower and upper end; both are the AUC where it is 0 or 1, of which these rows say nothing more.

    Raises:
        OptionError: There are fewer than two rows of a kind.

    Source: DeLong et al. (1988), by the ranks of Sun and Xu (2014); the logit as in Pepe (2003), section 5.2.

    >>> low, high = auc_interval(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> round(low, 3), round(high, 3)
    (0.069, 0.992)
    """
    check_value("level", level, INSIDE_ONE)
    own, other = np.asarray(score, np.float64)[positive], np.asarray(score, np.float64)[~positive]
    if min(len(own), len(other)) < 2:
        raise OptionError(f"an interval of the AUC needs two rows of each kind; got {len(own)} and {len(other)}")
    ranks = rankdata(np.concatenate([own, other]))
    # The share of negatives below each positive row, and of positives above each negative one; ties count half.
    below = (ranks[: len(own)] - rankdata(own)) / len(other)
    above = 1 - (ranks[len(own) :] - rankdata(other)) / len(own)
    area = below.mean()
    if area in (0, 1):
        return float(area), float(area)
    error = np.sqrt(below.var(ddof=1) / len(own) + above.var(ddof=1) / len(other))
    half = ndtri(0.5 + level / 2) * error / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))
