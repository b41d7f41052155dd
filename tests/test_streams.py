import subprocess
import sys

import jax
import numpy as np
import pytest

from curriculum_rec.streams import device_stream, host_stream, name_hash

BASE = (0, "order", 0)
OTHERS = [(1, "order", 0), (0, "epoch", 0), (0, "order", 1), (1, "order", 1)]


def host_bits(seed, name, step):
    return host_stream(seed, name, step).integers(0, 2**32, 4000, np.uint32)


def device_bits(seed, name, step):
    return np.asarray(jax.random.bits(device_stream(jax.random.key(seed), name, step), (4000,), np.uint32))


@pytest.mark.parametrize("bits", [host_bits, device_bits])
def test_a_stream_is_a_function_of_seed_name_and_step(bits):
    np.testing.assert_array_equal(bits(*BASE), bits(*BASE))


@pytest.mark.parametrize("bits", [host_bits, device_bits])
@pytest.mark.parametrize("other", OTHERS)
def test_streams_that_differ_in_one_of_them_are_uncorrelated(bits, other):
    correlation = np.corrcoef(bits(*BASE), bits(*other))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(4000)


def test_a_traced_step_gives_the_same_key():
    key = jax.random.key(5)
    traced = jax.jit(lambda step: jax.random.key_data(device_stream(key, "step", step)))(7)
    np.testing.assert_array_equal(traced, jax.random.key_data(device_stream(key, "step", 7)))


def test_another_process_draws_the_same_numbers():
    code = "from curriculum_rec.streams import host_stream; print(host_stream(3, 'order', 2).integers(0, 2**60))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(result.stdout) == host_stream(3, "order", 2).integers(0, 2**60)


def test_names_that_are_used_have_different_hashes():
    used = ["order", "epoch", "step", "dropout", "negatives", "embedding", "attention"]
    used += ["difficulty ties", "random order", "feed forward", "shared negatives"]
    assert len({name_hash(name) for name in used}) == len(used)
    assert all(0 <= name_hash(name) < 2**32 for name in used)
