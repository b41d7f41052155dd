"""Write the planted data of the two worked cases: numbers, and one of ten classes for each row, around its centre.

python experiments/seed_cases/make_data.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

CASES = {"wide": (100, 0.35), "narrow": (50, 0.5)}
"""For each case how many numbers a row has, and how far centres lie apart, the noise being 1."""


def make_case(name: str, n: int = 2000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and their classes.

    Args:
        name: ``wide`` or ``narrow``.
        n: Rows.
        seed: Decides all.

    Returns:
        float32 ``[n, d]`` and int64 ``[n]``.
    """
    width, apart = CASES[name]
    rng = np.random.default_rng(seed)
    centre, label = apart * rng.normal(size=(10, width)), rng.integers(0, 10, n)
    return (centre[label] + rng.normal(size=(n, width))).astype(np.float32), label


def write_case(name: str, folder: Path, n: int = 2000, *, seed: int = 0) -> None:
    """Write ``NAME_data.npy`` and ``NAME_labels.npy``."""
    data, label = make_case(name, n, seed=seed)
    np.save(folder / f"{name}_data.npy", data)
    np.save(folder / f"{name}_labels.npy", label)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        write_case(case, place)
