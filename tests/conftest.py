"""What all tests share: four fake devices, strict shapes, run-time checks of the package's annotations, tiny data.

``CURRICULUM_REC_TEST_PLATFORM=cuda`` lets them run on a GPU, in products of full precision; those of several devices
need as many.
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", int(os.environ.get("CURRICULUM_REC_TEST_DEVICES", "4")))
if platform := os.environ.get("CURRICULUM_REC_TEST_PLATFORM"):
    jax.config.update("jax_platforms", f"{platform},cpu")
    jax.config.update("jax_default_matmul_precision", "highest")  # tolerances are those of float32, not of TF32
jax.config.update("jax_numpy_rank_promotion", "raise")
# Many tests compile the same small programs: a session's processes share what they compile, and throw it away.
if "CURRICULUM_REC_TEST_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory()
    os.environ["CURRICULUM_REC_TEST_CACHE"] = _cache.name
jax.config.update("jax_compilation_cache_dir", os.environ["CURRICULUM_REC_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
install_import_hook("curriculum_rec", "type_checks.check")

from curriculum_rec.data.examples import Examples, SequenceExamples  # noqa: E402 - the hook must come first
from curriculum_rec.data.interactions import clean  # noqa: E402
from curriculum_rec.data.splits import LeaveOneOut, Split  # noqa: E402

MAX_MAPPINGS = 20_000
"""Of the 65,530 pieces of memory that Linux lets a process map by default: beyond them the compiler aborts it."""

settings.register_profile("suite", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs() -> Iterator[None]:
    """Forget compiled programs when there are many, after the module: each one keeps a few pieces of memory mapped."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MAX_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets, which lies beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_split() -> Split:
    """60 users with 3 to 20 interactions on at most 40 items, popular items first; times in order, some equal."""
    rng = np.random.default_rng(7)
    popularity = 1 / np.arange(1, 41)
    lengths = rng.integers(3, 21, 60)
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(100, 160), lengths),
            "item": rng.choice(np.arange(1000, 1040), lengths.sum(), p=popularity / popularity.sum()),
            "timestamp": np.concatenate([np.sort(rng.integers(0, 50, n)) for n in lengths]).astype(float),
        }
    )
    return LeaveOneOut()(clean(frame, {}, source="synthetic data"))


@pytest.fixture(scope="session")
def tiny_examples(tiny_split: Split) -> Examples:
    """The training examples in three buckets (4, 8, 12), some of whose batches are not full."""
    return SequenceExamples(max_length=12, bucket_lengths=(4, 8), positions_per_batch=96)(tiny_split)
