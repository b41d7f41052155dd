"""Imports point one way; heavy or optional packages stay behind their own doors."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "curriculum_rec"
RANKS = {
    "data": 0,
    "augmentation": 1,
    "curriculum": 1,
    "models": 1,
    "negatives": 1,
    "objectives": 1,
    "weighting": 1,
    "distillation": 2,
    "growth": 2,
    "compression": 2,
    "evaluation": 2,
    "tracking": 2,
    "training": 3,
    "inference": 4,
    "reports": 4,
    "studies": 5,
    "tuning": 5,
}
FOR_ALL = {"errors": -2, "flat_options": -2, "locks": -1, "streams": -1, "files": -1, "ranges": -1, "components": -1}
TOP = 6
BESIDE = {
    ("augmentation", "models"),
    ("negatives", "models"),
    ("objectives", "augmentation"),
    ("objectives", "models"),
    ("objectives", "negatives"),
    ("compression", "growth"),
}
"""Parts of one rank of which the first may import the second."""
HYDRA_DOORS = {"config", "commands", "hydra_door", "cli"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path):
    """The module's dotted name inside the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def part_of(module):
    return module.split(".")[0]


def rank_of(part):
    return FOR_ALL.get(part, RANKS.get(part, TOP))


def runs_at_import(node):
    is_type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    return not is_type_checking and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def imports_of(path, *, at_import_only=False):
    """Dotted names of all that a module imports; only what its import itself runs, if asked."""
    tree = ast.parse(path.read_text())
    if at_import_only:
        for node in (tree, *(each for each in ast.walk(tree) if isinstance(each, ast.ClassDef))):
            node.body = [each for each in node.body if runs_at_import(each)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "curriculum_rec":
                yield from (f"curriculum_rec.{alias.name}" for alias in node.names)
            else:
                yield node.module


def our_imports(path):
    return {name.removeprefix("curriculum_rec.") for name in imports_of(path) if name.startswith("curriculum_rec.")}


def is_allowed(importer, imported):
    mine, other = rank_of(importer), rank_of(imported)
    return importer == imported or other < mine or mine == TOP == other or (importer, imported) in BESIDE


def importers_of(*packages):
    return {name_of(path) for path in MODULES if any(part_of(imported) in packages for imported in imports_of(path))}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_points_back(path):
    importer = part_of(name_of(path))
    backwards = sorted(name for name in our_imports(path) if not is_allowed(importer, part_of(name)))
    assert not backwards, f"{importer} must not import {backwards}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("training", "models", True),
        ("objectives", "models", True),
        ("models", "objectives", False),
        ("negatives", "objectives", False),
        ("models", "curriculum", False),
        ("curriculum", "data", True),
        ("data", "curriculum", False),
        ("growth", "evaluation", False),
        ("evaluation", "training", False),
        ("training", "inference", False),
        ("training", "tracking", True),
        ("tracking", "training", False),
        ("data", "errors", True),
        ("errors", "data", False),
        ("cli", "commands", True),
        ("studies", "training", True),
        ("reports", "studies", False),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert is_allowed(importer, imported) == allowed


def test_every_part_is_known():
    assert {*RANKS, *FOR_ALL} <= {part_of(name_of(path)) for path in MODULES}


def test_hydra_stays_behind_its_doors():
    assert "config" in importers_of("omegaconf")
    assert {part_of(name) for name in importers_of("hydra", "omegaconf")} <= HYDRA_DOORS


def test_orbax_stays_behind_one_module():
    assert importers_of("orbax") == {"training.checkpoint"}


def test_optuna_stays_behind_one_module():
    assert importers_of("optuna") == {"tuning.optuna_study"}


def test_what_a_store_needs_stays_behind_one_module_each():
    assert importers_of("grain") == {"training.read_ahead"}
    assert importers_of("pyarrow") == {"data.store.arrow"}
    assert importers_of("ray") == {"data.store.engines"}


def test_drivers_of_databases_stay_behind_one_module():
    assert importers_of("adbc_driver_sqlite") == importers_of("adbc_driver_postgresql") == {"data.sources.databases"}


def test_plotly_stays_behind_one_module():
    assert importers_of("plotly") == {"studies.html_page"}


def test_host_code_does_not_name_jax():
    users = importers_of("jax", "flax", "optax")
    assert "models.sasrec" in users
    assert not [name for name in users if part_of(name) in {"data", "curriculum"}]


@pytest.mark.parametrize(
    "modules",
    [
        [name_of(path) for path in MODULES if part_of(name_of(path)) in {"data", "curriculum", *FOR_ALL}],
        ["cli"],
    ],
    ids=["data and curriculum", "cli"],
)
def test_importing_host_code_does_not_load_jax(modules):
    names = ", ".join(f"curriculum_rec.{name}" for name in modules)
    heavy = "{'jax', 'flax', 'optax', 'orbax'} & set(sys.modules)"
    code = f"import sys, {names}; loaded = {heavy}; assert not loaded, loaded"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_nothing_but_declared_dependencies_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    import_names = {"hydra-core": "hydra", "orbax-checkpoint": "orbax"}
    allowed = {"curriculum_rec", "omegaconf", "yaml"}  # what Hydra itself is made of
    names = [re.match(r"[\w-]+", text).group() for text in project["dependencies"]]
    allowed |= {import_names.get(name, name) for name in names}
    for path in MODULES:
        foreign = {part_of(name) for name in imports_of(path, at_import_only=True)} - set(sys.stdlib_module_names)
        assert foreign <= allowed, path
