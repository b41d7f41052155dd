"""Each method: its bound or optimum, its bytes to the byte, and the options and models that it refuses."""

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from curriculum_rec.compression import (
    Blocks,
    Dimensions,
    Hashing,
    Int4Rows,
    Int8Affine,
    Int8Rows,
    LowRank,
    Magnitude,
    ProductQuantisation,
    QuotientRemainder,
)
from curriculum_rec.compression.contract import Form, tree_bytes
from curriculum_rec.compression.factored import rank_for_energy
from curriculum_rec.compression.packing import dense
from curriculum_rec.compression.pruned import largest, strongest_blocks
from curriculum_rec.compression.quantised import affine_rows, halves, pairs, scaled_rows
from curriculum_rec.compression.shared_rows import RIDGE, probes, quotient_remainder
from curriculum_rec.errors import OptionError
from curriculum_rec.models import SASRec
from curriculum_rec.models.structure import split_model
from curriculum_rec.streams import host_stream

WIDTH, DEPTH, LENGTH, ROWS = 8, 3, 5, 384


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    """A model of 384 rows, whose gates are told apart."""
    make = SASRec(width=WIDTH, depth=DEPTH)
    shapes = split_model(nnx.eval_shape(lambda: make(n_items=300, max_length=LENGTH, rngs=nnx.Rngs(0))))[1]
    tree = jax.tree.map(lambda leaf: random(*leaf.shape), shapes)
    tree["blocks"]["residual"]["gate"] = np.array([0.2, -0.9, 0.5], np.float32)
    tree["blocks"]["feed_forward"]["residual"]["gate"] = np.array([0.3, 0.1, 0.1], np.float32)
    return tree


@given(seed=st.integers(0, 1000), size=st.floats(1e-3, 1e3), axis=st.sampled_from([-1, -2]))
def test_symmetric_codes_are_off_by_half_a_scale_at_most(seed, size, axis):
    matrix = random(2, 6, 7, seed=seed) * np.float32(size)
    matrix[0, 2], matrix[1, :, 3] = 0, 0
    form = scaled_rows(matrix, axis)
    error = np.moveaxis(np.abs(form.dense() - matrix), axis, -1)
    assert (error <= form.scale / 2 * (1 + 1e-5)).all()
    assert np.abs(form.codes).max() == 127
    zero = (matrix == 0).all(axis=axis)
    assert zero.any()
    assert (np.moveaxis(form.dense(), axis, -1)[zero] == 0).all()


@given(seed=st.integers(0, 1000), bits=st.sampled_from([4, 8]), width=st.integers(1, 9))
def test_affine_codes_are_off_by_half_a_scale_and_keep_equal_numbers(seed, bits, width):
    matrix = random(5, width, seed=seed) + 3
    matrix[1] = 0.7
    form = affine_rows(matrix, bits=bits, clip="none")
    assert (np.abs(form.dense() - matrix) <= form.scale / 2 + 1e-5).all()
    np.testing.assert_array_equal(form.dense()[1], matrix[1])
    low, high = matrix.min(axis=1, keepdims=True), matrix.max(axis=1, keepdims=True)
    np.testing.assert_allclose(form.scale, (high - low) / (2**bits - 1), rtol=1e-5)


def test_affine_codes_of_a_kernel_share_a_range_by_output():
    kernel = random(2, 6, 5) * np.array([1, 10, 100, 1000, 1e4], np.float32)
    form = affine_rows(kernel, -2, bits=8, clip="none")
    assert form.scale.shape == (2, 5, 1)
    assert (np.abs(form.dense() - kernel) <= np.moveaxis(form.scale, -1, -2) / 2 * 1.001).all()


@given(st.lists(st.integers(0, 15), min_size=1, max_size=9))
def test_two_codes_of_four_bits_share_a_byte(codes):
    packed = pairs(np.array([codes, codes], np.uint8))
    assert packed.shape == (2, (len(codes) + 1) // 2)
    np.testing.assert_array_equal(halves(packed)[:, : len(codes)], [codes, codes])


def test_clipping_never_raises_the_error_and_lowers_it_where_one_number_stands_out():
    rows = np.concatenate([random(20, 32), np.full((20, 1), 6, np.float32)], axis=1)

    def error(clip):
        return ((affine_rows(rows, bits=4, clip=clip).dense() - rows) ** 2).sum(axis=1)

    assert (error("greedy") <= error("none") * (1 + 1e-6)).all()
    assert error("greedy").sum() < 0.95 * error("none").sum()


def search_one_row(row, bits):
    """The greedy search as the paper's pseudo-code has it, for one row, in double precision."""

    def error(low, high):
        scale = (high - low) / (2**bits - 1)
        codes = [min(max(round((x - low) / scale), 0), 2**bits - 1) for x in row]
        return sum((code * scale + low - x) ** 2 for code, x in zip(codes, row, strict=True))

    low, high = min(row), max(row)
    step = (high - low) / 200
    best = error(low, high)
    for _ in range(32):
        up, down = error(low + step, high), error(low, high - step)
        low, high = (low + step, high) if up < down else (low, high - step)
        best = min(best, up, down)
    return best


def test_the_search_is_as_good_as_the_papers():
    rows = random(12, 24)
    form = affine_rows(rows, bits=4, clip="greedy")
    found = ((form.dense() - rows).astype(np.float64) ** 2).sum(axis=1)
    expected = np.array([search_one_row(row.astype(np.float64).tolist(), 4) for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    whole = ((affine_rows(rows, bits=4, clip="none").dense() - rows) ** 2).sum(axis=1)
    assert (found < 0.9 * whole).sum() >= 4


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_the_error_of_a_rank_is_the_tail_of_the_singular_values(rank):
    table = random(40, 8)
    form = LowRank(rank=rank, energy=None).factorise(table)
    values = np.linalg.svd(table, compute_uv=False)
    assert ((form.dense() - table) ** 2).sum() == pytest.approx((values[rank:] ** 2).sum(), rel=1e-4)
    assert form.nbytes == 4 * rank * (40 + 8)


@given(seed=st.integers(0, 100), energy=st.floats(0.01, 0.99))
def test_the_rank_for_an_energy_is_the_smallest(seed, energy):
    values = np.sort(np.abs(random(6, seed=seed)))[::-1].astype(np.float64)
    rank = rank_for_energy(values, energy)
    total = (values**2).sum()
    assert (values[:rank] ** 2).sum() >= energy * total * (1 - 1e-12)
    assert (values[: rank - 1] ** 2).sum() < energy * total


@given(n_rows=st.integers(1, 500), m=st.integers(2, 40))
def test_no_two_rows_share_quotient_and_remainder(n_rows, m):
    quotient, remainder = quotient_remainder(n_rows, m)
    assert len(set(zip(quotient.tolist(), remainder.tolist(), strict=True))) == n_rows
    assert remainder.max() < m
    assert quotient.max() == (n_rows - 1) // m


def test_a_table_of_products_is_found_again_though_its_last_quotient_is_not_full():
    left, right = random(5, 4), random(9, 4, seed=1)
    table = np.einsum("qd,md->qmd", left, right).reshape(45, 4)[:42]
    form = QuotientRemainder(remainders=9).fit(table, seed=0)
    np.testing.assert_allclose(form.dense(), table, atol=1e-3)
    assert form.nbytes == 4 * 4 * (5 + 9)
    assert len(QuotientRemainder().fit(random(50, 4), seed=0).remainder) == 8  # the root of 50, rounded up


def test_shared_rows_are_a_least_squares_fit():
    table = random(60, 4)
    form = Hashing(share=0.5, rounds=5).fit(table, seed=3)
    probe = probes(60, 2, n_buckets=30, seed=3)
    assert form.nbytes == 4 * (30 * 4 + 60 * 2)
    # Given the shared rows, NumPy's own solution for each item's weights is no better.
    best = [np.linalg.lstsq(form.table[probe[i]].T, table[i], rcond=None)[1].sum() for i in range(60)]
    distinct = probe[:, 0] != probe[:, 1]
    errors = ((form.dense() - table) ** 2).sum(axis=1)
    np.testing.assert_allclose(errors[distinct], np.array(best)[distinct], rtol=1e-3, atol=1e-4)
    more = Hashing(share=0.5, rounds=15).fit(table, seed=3)
    assert ((more.dense() - table) ** 2).sum() <= errors.sum() * (1 + 1e-4)
    assert errors.sum() < 0.7 * (table**2).sum()


def test_the_shared_table_solves_its_normal_equations():
    table, probe = random(30, 3), probes(30, 2, n_buckets=10, seed=0)
    form = Hashing(share=10 / 30, rounds=1).fit(table, seed=0)
    # With one round the weights that the table was fitted to are those that it was begun with.
    weight = host_stream(0, "hashing").normal(size=(30, 2))
    matrix = np.zeros((30, 10))
    np.add.at(matrix, (np.arange(30)[:, None], probe), weight)
    expected = np.linalg.solve(matrix.T @ matrix + RIDGE * np.eye(10), matrix.T @ table)
    np.testing.assert_allclose(form.table, expected, atol=1e-4)


def test_probes_spread_evenly_and_stay_what_they_are():
    probe = probes(10_000, 2, n_buckets=16, seed=1)
    counts = np.bincount(probe.reshape(-1), minlength=16)
    assert abs(counts - 1250).max() < 5 * np.sqrt(1250)
    assert (probe[:, 0] == probe[:, 1]).mean() == pytest.approx(1 / 16, abs=0.02)
    assert probes(3, 2, n_buckets=1000, seed=0).tolist() == PROBES
    assert (probes(100, 2, n_buckets=1000, seed=0) != probes(100, 2, n_buckets=1000, seed=1)).mean() > 0.9


PROBES = [[602, 803], [679, 223], [26, 727]]


def test_every_part_has_the_code_of_its_nearest_centre_and_centres_as_good_as_scikit_learns():
    table = random(300, 8)
    form = ProductQuantisation(parts=2, centres=16, rounds=50).fit(table, seed=0)
    error = 0.0
    for number, part in enumerate(np.split(table, 2, axis=1)):
        distance = ((part[:, None] - form.centres[number][None]) ** 2).sum(axis=2)
        np.testing.assert_array_equal(form.codes[:, number], distance.argmin(axis=1))
        np.testing.assert_allclose(
            form.dense()[:, 4 * number : 4 * number + 4], form.centres[number][form.codes[:, number]]
        )
        error += distance.min(axis=1).sum()
    oracle = sum(KMeans(16, n_init=1, random_state=0).fit(part).inertia_ for part in np.split(table, 2, axis=1))
    assert error < 1.1 * oracle
    assert form.nbytes == 300 * 2 + 4 * 16 * 8


def test_the_smallest_weights_are_left_out_and_the_others_are_the_same_bits():
    matrix = random(7, 9)
    form = largest(matrix, 0.25)
    kept = form.dense() != 0
    assert kept.sum() == 16  # a quarter of 63, rounded
    np.testing.assert_array_equal(form.dense()[kept], matrix[kept])
    assert np.abs(matrix[kept]).min() > np.abs(matrix[~kept]).max()
    assert form.nbytes == 4 * 16 + 8


@pytest.mark.parametrize(("keep", "expected"), [(1, [1]), (2, [1, 2])])
def test_blocks_with_the_smallest_gates_go(params, keep, expected):
    # Sums of absolute gates: 0.5, 1.0 and 0.6.
    assert strongest_blocks(params, keep).tolist() == expected
    smaller = Blocks(keep=keep)(params, seed=0)
    assert smaller["items"]["embedding"] is params["items"]["embedding"]
    for name in ("query_key_value", "out"):
        np.testing.assert_array_equal(smaller["blocks"][name]["kernel"], params["blocks"][name]["kernel"][expected])


def matrices():
    """Rows and row lengths of all matrices, [rows, length]; a kernel's rows are its outputs."""
    factor = 4
    kernels = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (factor * WIDTH, WIDTH), (WIDTH, factor * WIDTH)]
    return [(ROWS, WIDTH), (LENGTH, WIDTH), *((DEPTH * rows, length) for rows, length in kernels)]


VECTORS = DEPTH * (2 * 2 * WIDTH + 3 * WIDTH + WIDTH + 4 * WIDTH + WIDTH + 2) + 2 * WIDTH
"""Numbers in biases, norms and gates, which stay float32."""

NETWORK = sum(rows * length for rows, length in matrices()[1:]) + VECTORS
"""Numbers outside the item table."""


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Int8Rows(), sum(rows * (length + 4) for rows, length in matrices()) + 4 * VECTORS),
        (Int8Rows(scope="table"), ROWS * (WIDTH + 4) + 4 * NETWORK),
        (Int8Affine(), sum(rows * (length + 8) for rows, length in matrices()) + 4 * VECTORS),
        (Int4Rows(), ROWS * (WIDTH // 2 + 8) + 4 * NETWORK),
        (Int4Rows(scope="all"), sum(rows * (length // 2 + 8) for rows, length in matrices()) + 4 * VECTORS),
        (LowRank(rank=3, energy=None), 4 * 3 * (ROWS + WIDTH) + 4 * NETWORK),
        (ProductQuantisation(parts=4, centres=32, rounds=2), ROWS * 4 + 4 * 32 * WIDTH + 4 * NETWORK),
        (Hashing(share=0.25, rounds=1), 4 * (ROWS // 4 * WIDTH + ROWS * 2) + 4 * NETWORK),
        (QuotientRemainder(rounds=1), 4 * WIDTH * (-(-ROWS // 20) + 20) + 4 * NETWORK),
        (
            Magnitude(sparsity=0.75),
            sum(rows * length // 4 * 4 + -(-rows * length // 8) for rows, length in matrices()) + 4 * VECTORS,
        ),
        (Dimensions(width=3), 4 * 3 * ROWS + 4 * NETWORK),
        (Blocks(keep=1), 4 * (ROWS + LENGTH + 2) * WIDTH + 4 * (NETWORK - (LENGTH + 2) * WIDTH) // DEPTH),
    ],
    ids=lambda value: repr(value) if not isinstance(value, int) else "",
)
def test_bytes_are_those_of_the_formula_and_shapes_stay(params, method, expected):
    compressed = method(params, seed=0)
    assert tree_bytes(compressed) == expected
    for before, after in zip(jax.tree.leaves(params), jax.tree.leaves(dense(compressed)), strict=True):
        assert after.dtype == np.float32
        assert before.shape == after.shape or isinstance(method, Blocks)
        if before.ndim == 1 and not isinstance(method, Blocks):
            np.testing.assert_array_equal(before, after)
    again = method(params, seed=0)
    jax.tree.map(np.testing.assert_array_equal, dense(compressed), dense(again))
    assert any(isinstance(leaf, Form) for leaf in jax.tree.leaves(compressed)) or isinstance(method, Blocks)


MISTAKES = [
    (lambda: Int8Rows(scope="rows"), "method.scope=rows: it must be one of all, table"),
    (lambda: Int4Rows(clip="best"), "method.clip=best"),
    (lambda: LowRank(rank=3), "method.rank=3 and method.energy=0.9: give exactly one"),
    (lambda: LowRank(energy=None), "method.rank=null and method.energy=null"),
    (lambda: LowRank(rank=0, energy=None), "method.rank=0"),
    (lambda: LowRank(energy=1.0), r"method.energy=1.0: it must be in \(0, 1\)"),
    (lambda: ProductQuantisation(centres=257), "method.centres=257.*a code is a byte"),
    (lambda: ProductQuantisation(parts=0), "method.parts=0"),
    (lambda: Hashing(share=1.0), "method.share=1.0"),
    (lambda: Hashing(n_probes=0), "method.n_probes=0"),
    (lambda: QuotientRemainder(remainders=1), "method.remainders=1"),
    (lambda: QuotientRemainder(rounds=0), "method.rounds=0"),
    (lambda: Magnitude(sparsity=0.0), "method.sparsity=0.0"),
    (lambda: Blocks(keep=0), "method.keep=0"),
    (lambda: Dimensions(width=0), "method.width=0"),
]


@pytest.mark.parametrize(("make", "sentence"), MISTAKES)
def test_wrong_options_are_refused(make, sentence):
    with pytest.raises(OptionError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (LowRank(rank=9, energy=None), "method.rank=9: the item table has 8 singular values"),
        (ProductQuantisation(parts=3), "method.parts=3: it must divide the item table's width, 8"),
        (ProductQuantisation(parts=4, centres=256), "method.centres=256: the item table has only 20 rows"),
        (Blocks(keep=2), "method.keep=2: the model has no stacked blocks"),
        (Dimensions(width=8), "method.width=8: the item table has only 8 columns"),
    ],
)
def test_what_does_not_suit_the_table_is_refused(method, sentence):
    with pytest.raises(OptionError, match=sentence):
        method({"items": {"embedding": random(20, 8)}}, seed=0)


@pytest.mark.parametrize(
    "method", [LowRank(), Dimensions(), Hashing(), Int8Rows(scope="table"), Int4Rows()], ids=lambda m: type(m).__name__
)
def test_a_model_without_an_item_table_is_refused(method):
    with pytest.raises(OptionError, match="no parameter items.embedding"):
        method({"dense": {"kernel": random(4, 4)}}, seed=0)


def test_blocks_are_refused_where_none_can_go_or_none_has_a_gate(params):
    with pytest.raises(OptionError, match="method.keep=3: the model has 3 blocks"):
        Blocks(keep=3)(params, seed=0)
    with pytest.raises(OptionError, match="no gates"):
        Blocks(keep=1)({"blocks": {"kernel": random(2, 4, 4)}}, seed=0)
