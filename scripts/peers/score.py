"""What the contestants of scripts/bench_peers share: the data, the one scorer, the clock. Needs numpy alone."""

import argparse
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np

K, HEADS, DROPOUT = 10, 1, 0.2
Lists = tuple[np.ndarray, np.ndarray]
"""Users ``[n]`` and their ten best items ``[n, 10]`` after all their items but the last, without those seen."""


def read(path: Path) -> dict[int, np.ndarray]:
    """Read lines of ``user item item ...``, oldest first: the last item is test, the one before it validation."""
    rows = [np.array(line.split(), np.int64) for line in path.read_text().splitlines()]
    sequences = {int(row[0]): row[1:] for row in rows}
    if len(sequences) < len(rows) or min(map(len, rows)) < 5:
        raise ValueError("every user needs one line, 'user item item ...', with at least four items")
    return sequences


def score(sequences: dict[int, np.ndarray], users: np.ndarray, items: np.ndarray) -> dict[str, float]:
    """Compute NDCG@10 and HR@10 over all users; lists that break the rules of :data:`Lists` are a ValueError.

    >>> lists = np.stack([np.arange(10, 20), np.arange(30, 40)])
    >>> got = score({1: np.array([1, 2, 3, 12]), 2: np.array([1, 2, 3, 4])}, np.array([2, 1]), lists[::-1])
    >>> got == {"ndcg": 1 / np.log2(1 + 3) / 2, "hr": 1 / 2}
    True
    """
    if items.shape != (len(sequences), K) or sorted(users.tolist()) != sorted(sequences):
        raise ValueError(f"lists of shape {items.shape} are not one list of {K} items for each of all users")
    if any(len({*best} - {*sequences[user][:-1]}) < K for user, best in zip(users.tolist(), items, strict=True)):
        raise ValueError("a list names an item twice, or one that the user had seen")
    hit = items == np.array([sequences[user][-1] for user in users.tolist()])[:, None]
    return {"ndcg": float((hit / np.log2(np.arange(2, K + 2))).sum() / len(users)), "hr": float(hit.sum() / len(users))}


class Finished(Exception):  # noqa: N818 - it ends a race in the ordinary way
    """The target is met, or the epochs or the time are used up."""


class Race:
    """One contestant's clock: it times epochs, has lists made after them, and raises Finished when it is over.

    Args:
        arguments: From :func:`parse`.
        sequences: From :func:`read`.
        recommend: Makes the lists and leaves the model ready to train.
        packages: Distributions whose versions are reported, the contestant's own first.
    """

    def __init__(
        self, arguments: argparse.Namespace, sequences: dict, recommend: Callable[[], Lists], *packages: str
    ) -> None:
        self.arguments, self.sequences, self.recommend = arguments, sequences, recommend
        self.begun, self.epoch_begun, self.epochs, self.about = math.nan, math.nan, [], {}
        self.counted: Any = 0.0
        self.about["versions"] = {name: version(name) for name in packages} | {"Python": platform.python_version()}
        named = ("batch", "learning_rate", "device", "precision", "width", "depth")
        self.about |= {name: getattr(arguments, name) for name in named}

    def epoch_begin(self) -> None:
        """Begin an epoch, and the race with the first, unless ``begun`` was set before."""
        self.counted, self.epoch_begun = 0.0, time.perf_counter()
        self.begun = self.epoch_begun if math.isnan(self.begun) else self.begun

    @property
    def late(self) -> bool:
        """Whether the seconds of training, without evaluation, are used up."""
        return sum(self.epochs) + time.perf_counter() - self.epoch_begun >= self.arguments.limit_seconds

    def batch(self, n_targets: Any) -> None:
        """Count trained targets, perhaps on the device; when time is up, evaluate in mid-epoch and finish."""
        self.counted += n_targets
        if self.late:
            seconds = time.perf_counter() - self.epoch_begun
            self.about["partial_epoch"] = {"targets": float(self.counted), "seconds": seconds}
            self._evaluate(sum(self.epochs) + seconds)
            raise Finished

    def epoch_end(self) -> None:
        """End an epoch; evaluate and finish if it is time to."""
        if self.arguments.device == "cuda" and (torch := sys.modules.get("torch")):
            torch.cuda.synchronize()
        last = self.late or len(self.epochs) + 1 >= self.arguments.epochs
        self.epochs.append(time.perf_counter() - self.epoch_begun)
        self.about["targets_per_epoch"] = float(self.counted)
        if (last or len(self.epochs) % self.arguments.every == 0) and (
            self._evaluate(sum(self.epochs)) >= self.arguments.target or last
        ):
            raise Finished

    def _evaluate(self, train_seconds: float) -> float:
        users, items = self.recommend()
        times = {
            "epochs": len(self.epochs),
            "train_seconds": train_seconds,
            "seconds": time.perf_counter() - self.begun,
        }
        file = f"lists_{train_seconds:.3f}.npz"
        np.savez(file, users=users, items=items, **times)
        begun = time.perf_counter()
        ndcg = score(self.sequences, users, items)["ndcg"]  # for stopping; what is reported is scored from the file
        self.begun += time.perf_counter() - begun  # the judge's time is nobody's
        say(lists=file, ndcg=ndcg, **times)
        return ndcg

    def device_peak(self) -> int:
        """Give the most bytes of the GPU's memory in use so far."""
        return sys.modules["torch"].cuda.max_memory_allocated()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is Finished:
            used = resource.getrusage(resource.RUSAGE_SELF)
            self.about["peak_bytes"] = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            if self.arguments.device == "cuda":
                self.about["peak_bytes"] = self.device_peak()
            self.about["processor_seconds"] = used.ru_utime + used.ru_stime
            say(finished=True, epoch_seconds=self.epochs, **self.about)
        return kind is Finished


def say(**message: object) -> None:
    """Send a line to scripts/bench_peers, past whatever a library may have done to the standard output."""
    print("RACE " + json.dumps(message), file=sys.__stdout__, flush=True)


def lightning_clock(callback: type, race: Race, count: Callable[[dict], Any]) -> Any:
    """Make a Lightning callback, of either of its packages, that keeps the race's clock."""

    class Clock(callback):
        def __deepcopy__(self, _: dict) -> Self:
            return self  # RecTools trains with a copy of its trainer, but there is one race

        def on_train_epoch_start(self, *_: object) -> None:
            race.epoch_begin()

        def on_train_batch_end(self, _trainer: object, _module: object, _loss: object, batch: dict, _: int) -> None:
            race.batch(count(batch))

        def on_train_epoch_end(self, *_: object) -> None:
            race.epoch_end()

    return Clock()


QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


def parse(*, batch: int, learning_rate: float = 1e-3) -> tuple[argparse.Namespace, dict[int, np.ndarray]]:
    """Read a driver's command line, whose defaults are the library's own, and the data; use all cores for PyTorch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    options = {"max-length": 50, "width": 64, "depth": 2, "epochs": 1, "every": 1, "target": 1.0, "seed": 0}
    options |= {"limit-seconds": math.inf}
    for name, default in (options | {"batch": batch, "learning-rate": learning_rate}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(os.cpu_count() or 1)
    arguments = parser.parse_args()
    return arguments, read(arguments.path)
