"""Placement (host and device): the same per-device body under jit, pmap or shard_map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from curriculum_rec.errors import OptionError
from curriculum_rec.models.structure import Tree

Kind = Literal["auto", "jit", "pmap", "shard_map"]
AXIS = "data"

Body = Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]
"""``(state, shared, rows) -> (state, output)``, seen by one device: state and shared are replicated, rows its own."""


@dataclass(frozen=True)
class Placement:
    """On which devices a step runs, and how it is mapped over them.

    Args:
        kind: ``jit`` (one device), ``pmap``, ``shard_map``, or ``auto``: ``jit`` on one device and ``pmap`` on several.
        devices: How many of the local devices are used; None means all of them, or one for ``jit``.
    """

    kind: Kind = "auto"
    devices: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(f"placement.kind={self.kind}: it must be one of {', '.join(get_args(Kind))}")
        if self.devices is not None and self.devices < 1:
            raise OptionError(f"placement.devices={self.devices}: it must be at least 1")
        if self.kind == "jit" and (self.devices or 1) > 1:
            raise OptionError(f"placement.devices={self.devices} with kind=jit: jit uses one; take pmap or shard_map")

    def place(self) -> Placed:
        """Look at the machine's devices and decide.

        Raises:
            OptionError: More devices are asked for than there are.
        """
        present = jax.local_devices()
        wanted = self.devices or (1 if self.kind == "jit" else len(present))
        if wanted > len(present):
            raise OptionError(
                f"placement.devices={wanted}, but this machine has {len(present)} ({present[0].platform})"
            )
        kind = self.kind if self.kind != "auto" else ("jit" if wanted == 1 else "pmap")
        return Placed(kind, tuple(present[:wanted]))


@dataclass(frozen=True)
class Placed:
    """A decided placement.

    Args:
        kind: How bodies are mapped.
        devices: The devices.
    """

    kind: Literal["jit", "pmap", "shard_map"]
    devices: tuple[Any, ...] = field(repr=False)

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.devices)

    @property
    def axis_name(self) -> str | None:
        """The axis over which a body must reduce; None on one device under jit."""
        return None if self.kind == "jit" else AXIS

    @cached_property
    def mesh(self) -> Mesh:
        """The devices as a one-dimensional mesh (of automatic axes; ``jax.make_mesh`` would make explicit ones)."""
        return Mesh(np.array(self.devices), (AXIS,))

    def replicate(self, tree: Tree) -> Tree:
        """Put a tree on all devices. A state that is not placed before its first step would be traced twice."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def split(self, array: np.ndarray, axis: int) -> jax.Array:
        """Put an array on the devices, cut along one axis."""
        spec = PartitionSpec(*(None,) * axis, AXIS)
        return jax.device_put(array, NamedSharding(self.mesh, spec))

    def wrap(self, body: Body) -> Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]:
        """Compile a body; the state is donated, rows carry a leading device axis, outputs are replicated."""
        if self.kind == "pmap":
            return jax.pmap(
                body,
                axis_name=AXIS,
                in_axes=(None, None, 0),
                out_axes=None,
                devices=self.devices,
                donate_argnums=0,
            )

        def squeezed(state: Tree, shared: Tree, rows: Tree) -> tuple[Tree, Tree]:
            return body(state, shared, jax.tree.map(lambda leaf: leaf[0], rows))

        if self.kind == "shard_map":
            # The body reduces by itself; with check_vma the gradient would come out n_devices times too large.
            squeezed = jax.shard_map(
                squeezed,
                mesh=self.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        return jax.jit(squeezed, donate_argnums=0)
