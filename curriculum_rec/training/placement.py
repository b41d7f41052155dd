"""Placement (host and device): the same per-device body under jit, pmap or shard_map, on one host or several."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.items import ROW_MULTIPLE
from curriculum_rec.models.spread import TABLE
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import at_least, check_ranges, one_of
from curriculum_rec.training.hosts import fetch

Kind = Literal["auto", "jit", "pmap", "shard_map"]
Where = Literal["device", "host"]
DATA = "data"

Body = Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]
"""``(state, shared, rows) -> (state, output)``, seen by one device: state and shared are replicated, rows its own."""


@dataclass(frozen=True)
class Placement:
    """On which devices a step runs, and how it is mapped over them.

    Args:
        kind: ``jit`` (one device), ``pmap`` (several of one host), ``shard_map`` (a mesh over any number of hosts), or
            ``auto``: ``jit`` on one device, ``pmap`` on several, ``shard_map`` on several hosts or with ``table > 1``.
        devices: How many devices are used; None means all of them, or one for ``jit``. Several hosts use all of theirs.
        table: Over how many devices the rows of the item table and of its optimizer state are spread, a divisor of 128.
            The others share the batch; a mesh of ``devices / table`` by ``table``.
        examples: Where examples lie: on every ``device``, so that row numbers are all that follows, or in the memory of
            every ``host``, which sends its devices their own part of each batch. The numbers are the same.
    """

    kind: Kind = "auto"
    devices: int | None = None
    table: int = 1
    examples: Where = "device"

    def __post_init__(self) -> None:
        ranges = {
            "kind": one_of(*get_args(Kind)),
            "devices": at_least(1).or_null(),
            "examples": one_of(*get_args(Where)),
        }
        check_ranges(self, "placement", ranges)
        if self.kind == "jit" and (self.devices or 1) > 1:
            raise OptionError(f"placement.devices={self.devices} with kind=jit: jit uses one; take pmap or shard_map")
        if self.table < 1 or ROW_MULTIPLE % self.table:
            raise OptionError(f"placement.table={self.table}: it must divide {ROW_MULTIPLE}")
        if self.table > 1 and self.kind not in ("auto", "shard_map"):
            raise OptionError(f"placement.table={self.table} with kind={self.kind}: only shard_map spreads the table")

    def place(self) -> Placed:
        """Look at the devices of this run and decide.

        Raises:
            OptionError: More devices are asked for than there are, or they do not suit.
        """
        present, hosts = jax.devices(), jax.process_count()
        wanted = self.devices or (1 if self.kind == "jit" else len(present))
        if wanted > len(present):
            raise OptionError(f"placement.devices={wanted}, but there are {len(present)} ({present[0].platform})")
        if hosts > 1 and (wanted != len(present) or self.kind in ("jit", "pmap")):
            raise OptionError(
                f"placement.kind={self.kind}, devices={self.devices}: a run on {hosts} hosts uses all their "
                f"{len(present)} devices by shard_map; leave both out"
            )
        if wanted % self.table:
            raise OptionError(f"placement.table={self.table} does not divide the {wanted} devices")
        kind = self.kind
        if kind == "auto":
            kind = "jit" if wanted == 1 else "shard_map" if hosts > 1 or self.table > 1 else "pmap"
        return Placed(kind, tuple(present[:wanted]), self.table, self.examples)


COMMAND_BUFFER = "xla_gpu_enable_command_buffer"


def compiler_options(platform: str) -> dict[str, int | str] | None:
    """Give XLA's options for a platform.

    A CPU gets vectors as wide as it has, not half as wide. A GPU gets the loops and branches of a chunk as parts of one
    CUDA graph: otherwise each asks the host how to go on, several times a step. ``XLA_FLAGS`` that name this go before.
    """
    if platform == "cpu":
        return {"xla_cpu_prefer_vector_width": 512}
    if platform in ("gpu", "cuda") and COMMAND_BUFFER not in os.environ.get("XLA_FLAGS", ""):
        kernels = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION"
        return {COMMAND_BUFFER: f"{kernels},CONDITIONAL,WHILE"}
    return None


@dataclass(frozen=True)
class Placed:
    """A decided placement.

    Args:
        kind: How bodies are mapped.
        devices: The devices, of all hosts.
        table: How many of them share one copy of the item table.
        examples: Where the examples lie.
    """

    kind: Literal["jit", "pmap", "shard_map"]
    devices: tuple[Any, ...] = field(repr=False)
    table: int = 1
    examples: Where = "device"

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.devices)

    @property
    def n_shards(self) -> int:
        """Into how many parts a batch is cut."""
        return self.n_devices // self.table

    @cached_property
    def local_shards(self) -> tuple[int, ...]:
        """The parts of a batch that this host's devices train."""
        shards = np.array(self.devices).reshape(self.n_shards, self.table)
        here = jax.process_index()
        return tuple(number for number, row in enumerate(shards) if any(d.process_index == here for d in row))

    @property
    def axis_name(self) -> str | None:
        """The axis over which a body must reduce; None where every device sees the whole batch."""
        return None if self.kind == "jit" or (self.n_shards == 1 and self.table > 1) else DATA

    @cached_property
    def mesh(self) -> Mesh:
        """The devices as a mesh (of automatic axes; ``jax.make_mesh`` would make explicit ones)."""
        if self.table == 1:
            return Mesh(np.array(self.devices), (DATA,))
        return Mesh(np.array(self.devices).reshape(self.n_shards, self.table), (DATA, TABLE))

    def replicate(self, tree: Tree) -> Tree:
        """Put a tree on all devices."""
        return jax.tree.map(lambda leaf: self._put(leaf, PartitionSpec()), tree)

    def place_state(self, state: Tree) -> Tree:
        """Put a state on the devices, the rows of the item table shared out.

        A state that is not placed before its first step would be traced twice.

        Raises:
            OptionError: The table is to be spread, and there is none.
        """
        self.check_table(state)
        return jax.tree_util.tree_map_with_path(lambda path, leaf: self._put(leaf, self._spec(path, leaf)), state)

    def check_table(self, tree: Tree) -> None:
        """Refuse to spread an item table that is not there.

        Raises:
            OptionError: ``table`` is above 1 and no parameter is one.
        """
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        if self.table > 1 and all(self._spec(path, leaf) == PartitionSpec() for path, leaf in leaves):
            raise OptionError(
                f"placement.table={self.table}: the model has no parameter items.embedding of two axes, whose rows "
                "could be spread; leave it at 1"
            )

    def split(self, array: np.ndarray, axis: int) -> jax.Array:
        """Put an array on the devices, cut along one axis into :attr:`n_shards` parts; a host gives only its own."""
        return self._put(array, PartitionSpec(*(None,) * axis, DATA))

    def hand_out(self, tree: Tree) -> Tree:
        """Give each device its part of arrays with a leading shard axis, as :meth:`wrap` wants them."""
        return tree if self.kind == "pmap" else jax.tree.map(lambda array: self.split(array, 0), tree)

    def fetch(self, array: jax.Array) -> np.ndarray:
        """Copy a whole array to this host; every host has to ask for it."""
        return fetch(array)

    def peak_memory(self) -> int:
        """Most bytes in use so far on this host's first device; where it does not say, in this process."""
        stats = self.mesh.local_devices[0].memory_stats() or {}
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return int(stats.get("peak_bytes_in_use", resident))

    def snapshot(self, array: jax.Array) -> np.ndarray | jax.Array:
        """Copy an array for a checkpoint: to this host, or where several hosts write it, on the devices."""
        return jnp.copy(array) if self.mesh.is_multi_process else np.array(array, copy=True)

    def _spec(self, path: tuple[Any, ...], leaf: Any) -> PartitionSpec:
        # Rows, or what an optimizer keeps for each: one number of its own, or one for every number.
        is_table = self.table > 1 and path_names(path)[-2:] == ("items", "embedding") and leaf.ndim in (1, 2)
        return PartitionSpec(TABLE) if is_table else PartitionSpec()

    def _put(self, leaf: Any, spec: PartitionSpec) -> jax.Array:
        sharding = NamedSharding(self.mesh, spec)
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = self._put(jax.random.key_data(leaf), spec)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        whole = fetch(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    def wrap(self, body: Body) -> Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]:
        """Compile a body; the state is donated, rows carry a leading shard axis, outputs are replicated."""
        if self.kind == "pmap":
            return jax.pmap(
                body,
                axis_name=DATA,
                in_axes=(None, None, 0),
                out_axes=None,
                devices=self.devices,
                donate_argnums=0,
            )

        def squeezed(state: Tree, shared: Tree, rows: Tree) -> tuple[Tree, Tree]:
            return body(state, shared, jax.tree.map(lambda leaf: leaf[0], rows))

        if self.axis_name is not None:
            # The body reduces by itself; with check_vma the gradient would come out n_shards times too large. Along
            # the table's axis XLA shares the work out by itself, from where the rows of the table lie.
            squeezed = jax.shard_map(
                squeezed,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(DATA)),
                out_specs=PartitionSpec(),
                axis_names={DATA},
                check_vma=False,
            )
        return jax.jit(squeezed, donate_argnums=0, compiler_options=compiler_options(self.devices[0].platform))
