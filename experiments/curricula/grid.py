"""The study's grid (host): which runs there are, where they are kept, and what each is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.errors import OptionError

TABLE = Path(__file__).with_name("arms.yaml")
"""The study of this folder; others have a table of their own."""

EXPERIMENTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        name: Its name in tables and folders.
        options: Words for ``curriculum-rec train``.
        control: The arm that it is compared with, or None for one that is only a control.
    """

    name: str
    options: tuple[str, ...]
    control: str | None


@dataclass(frozen=True)
class Run:
    """One run of the grid.

    Attributes:
        root: The folder of the whole study.
        data: Name of the data set.
        noise: Rate of planted noise, 0 for none.
        arm: The arm.
        seed: The seed.
        words: What the data set and the noise add to the arm's own options.
    """

    root: Path
    data: str
    noise: float
    arm: Arm
    seed: int
    words: tuple[str, ...]

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.root / self.data / f"noise-{self.noise:g}" / self.arm.name / f"seed-{self.seed}"

    @property
    def log(self) -> Path:
        """What the process of this run printed."""
        return self.directory.with_suffix(".log")

    def overrides(self) -> list[str]:
        """Give all words for ``curriculum-rec train`` but those that say where the run is kept.

        In an arm's options ``{beside}`` stands for the folder of all arms of the same data and noise, and ``{seed}``
        for the seed, so that an arm can name another one's runs.
        """
        beside = str(self.directory.parents[1].absolute())
        named = [option.replace("{beside}", beside).replace("{seed}", str(self.seed)) for option in self.arm.options]
        return [*self.words, *named, f"seed={self.seed}"]

    def composed(self) -> dict[str, Any]:
        """Compose the run's configuration as ``curriculum-rec train`` does."""
        config.register()
        search = f"hydra.searchpath=['file://{EXPERIMENTS}']"
        with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
            return config.absolute_paths(config.to_data(compose("train", [search, *self.overrides()])))

    def config_hash(self) -> str:
        """Identify the run's configuration, as its summary does."""
        return config.config_hash(self.composed())


def read_table(table: Path) -> dict[str, Any]:
    """Read a study's table.

    Raises:
        OptionError: There is none.
    """
    if not table.is_file():
        raise OptionError(f"--table {table} does not exist")
    return yaml.safe_load(table.read_text())


def read_arms(table: Path = TABLE) -> dict[str, Arm]:
    """Read the arms, each ordered one followed by those of its other orders; not those whose file is not there."""
    content = read_table(table)
    packaged = resources.files("curriculum_rec.conf")
    arms: dict[str, Arm] = {}
    for name, entry in content["arms"].items():
        if "file" in entry and not packaged.joinpath(entry["file"]).is_file():
            continue
        options = (*(arms[entry["extends"]].options if "extends" in entry else ()), *entry["options"])
        ordered = entry.get("ordered", False)
        arms[name] = Arm(name, options, f"{name}-random" if ordered else entry.get("control"))
        for order, words in content.get("orders", {}).items() if ordered else ():
            other = f"{name}-{order}"
            arms[other] = Arm(other, (*options, *words), None if order == "random" else f"{name}-random")
    return arms


def chosen_arms(names: Sequence[str] | None, table: Path = TABLE) -> dict[str, Arm]:
    """Take the named arms, or all.

    Raises:
        OptionError: There is no such arm.
    """
    arms = read_arms(table)
    for name in names or ():
        if name not in arms:
            raise OptionError(f"there is no arm '{name}'; there are: {', '.join(arms)}")
    return {name: arms[name] for name in names or arms}


def runs(
    *,
    root: Path,
    folder: Path,
    data: Sequence[str],
    noise: Sequence[float],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    words: Sequence[str] = (),
    table: Path = TABLE,
) -> Iterator[Run]:
    """List all runs, seed by seed, so that a grid that was stopped early has whole seeds.

    Args:
        root: The folder of the whole study.
        folder: Where the data sets lie.
        data: Names of data sets.
        noise: Rates of planted noise.
        arms: The arms.
        seeds: The seeds.
        words: Options for every run.
        table: The study's table, which names the data sets.

    Raises:
        OptionError: There is no such data set.
    """
    sets: dict[str, Any] = read_table(table)["data"]
    for name in data:
        if name not in sets:
            raise OptionError(f"there is no data set '{name}'; there are: {', '.join(sets)}")
    for seed in seeds:
        for name in data:
            for rate in noise:
                planted = ["noise=planted", f"noise.rate={rate:g}"] if rate else []
                path = f"data.path={(folder / sets[name]['file']).absolute()}"
                common = (*sets[name]["options"], path, *planted, *words)
                for arm in arms:
                    yield Run(root, name, rate, arm, seed, common)
