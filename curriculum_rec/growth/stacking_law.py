"""The law of depthwise stacking for language models (host), for comparison with the literature."""

from __future__ import annotations

import math

from curriculum_rec.errors import OptionError


def stacking_tokens(parameters: float, operations: float) -> float:
    """Say after how many tokens a language model should be stacked, by the law that was fitted to such models.

    ``log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74``. Never for recommenders: for models and data of their size it
    asks for more tokens than there are, far outside the range that it was fitted in. Stages take it from nowhere.

    Args:
        parameters: ``N``, parameters of the stacked model, embeddings not counted, above 0.
        operations: ``C``, operations of the whole training, above 1.

    Returns:
        ``d``, tokens that the small model is trained on.

    Raises:
        OptionError: An argument is out of range.

    Source: Du et al. (2024), equation for the growth timing of ``G_stack``.

    >>> round(stacking_tokens(7e9, 6 * 7e9 * 2e12) / 1e9, 2)
    11.11
    """
    if not (parameters > 0 and operations > 1):
        raise OptionError(f"parameters={parameters} and operations={operations}: both must be positive counts")
    return 10 ** (0.88 * math.log10(parameters) + 163.27 / math.log10(operations) - 5.74)
