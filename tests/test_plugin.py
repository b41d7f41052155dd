"""A component of a person's own package joins by its import path, from training to recommendations."""

import polars as pl
from runs import OVERRIDES, write_sequences

from curriculum_rec.cli import main

SOURCE = '''
from dataclasses import dataclass

from curriculum_rec.models.dnn import DNN


@dataclass(frozen=True)
class Mine(DNN):
    """A model with an option of its own."""

    halve: bool = False

    def __call__(self, *, n_items, max_length, depth=None, rngs):
        width = self.width // 2 if self.halve else self.width
        return DNN(width=width, depth=self.depth)(n_items=n_items, max_length=max_length, depth=depth, rngs=rngs)
'''


def test_a_model_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_paper.py").write_text(SOURCE)
    (tmp_path / "experiments" / "model").mkdir(parents=True)
    yaml = "_target_: my_paper.Mine\nwidth: 16\ndepth: 1\nhalve: true\n"
    (tmp_path / "experiments" / "model" / "mine.yaml").write_text(yaml)
    write_sequences(tmp_path / "sequences.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    short = ["stages.shallow.epochs=1", "stages.deep.epochs=1", "data.path=sequences.txt", "run_dir=run"]
    words = ["train", *(word for word in OVERRIDES if not word.startswith("model.")), *short, "model=mine"]
    assert main(words) == 2
    assert "trusted_packages" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*words, "trusted_packages=[my_paper]"]) == 0
    # A configuration read back from a run does not widen the trust; the person does, on the command line.
    assert main(["recommend", "run=run", "k=3"]) == 2
    assert "my_paper.Mine is refused" in capsys.readouterr().err
    assert main(["recommend", "run=run", "k=3", "trusted_packages=[my_paper]"]) == 0
    assert pl.read_parquet(tmp_path / "run" / "recommendations.parquet")["user"].n_unique() == 60
