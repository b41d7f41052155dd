"""Models of rows with a stack of residual blocks (device): what they share, so that a model says only what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.task import Task
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.models.blocks import FeedForward, Remat, apply_blocks, check_network_options, stack_blocks
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.norms import NormName, make_norm
from curriculum_rec.models.residual import NormPosition
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class RowStackOptions:
    """Options that all models of rows with residual blocks share.

    Parameters of the stack over ``n`` inputs:
    ``(n + 1) width + depth (2 factor width^2 + (factor + 1) width + 2 width + 1) + 2 width``.

    Args:
        width: Size of the residual stream.
        depth: Number of residual layers, unless a stage says otherwise.
        embedding_width: Size of the vector of a code.
        feed_forward_factor: The hidden layers are this many times as wide.
        dropout: Rate in [0, 1) on every layer's branch.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each).
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` or ``block``.
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream.
        drop: How probably each block is left out of a step, in training; None keeps all.
    """

    TASK: ClassVar[Task] = "pointwise"

    width: int = 64
    depth: int = 2
    embedding_width: int = 16
    feed_forward_factor: int = 2
    dropout: float = 0.1
    norm: NormName = "layer"
    remat: Remat = "none"
    norm_position: NormPosition = "pre"
    drop: BlockDrop | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "model", {"embedding_width": at_least(1)})
        check_network_options(
            width=self.width,
            feed_forward_factor=self.feed_forward_factor,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
            norm_position=self.norm_position,
        )


class RowStack(nnx.Module):
    """A linear layer, residual blocks and the last norm; a model says what goes in and what becomes of what comes out.

    Args:
        options: The model's.
        n_inputs: Numbers that go in.
        depth: Number of blocks.
        rngs: Random streams for the initial values.
    """

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("project",)

    def __init__(self, options: RowStackOptions, n_inputs: int, *, depth: int, rngs: nnx.Rngs) -> None:
        def make_block(rngs: nnx.Rngs) -> nnx.Module:
            return FeedForward(
                options.width,
                factor=options.feed_forward_factor,
                dropout=options.dropout,
                norm=options.norm,
                norm_position=options.norm_position,
                rngs=rngs,
            )

        self.project = nnx.Linear(n_inputs, options.width, rngs=rngs)
        self.blocks = stack_blocks(make_block, depth, rngs)
        self.norm = make_norm(options.norm, options.width, rngs)
        self.remat = options.remat
        self.drop = options.drop

    def deep(
        self, x: Float[Array, "batch inputs"], rng: BatchRng | None, *, progress: Float[Array, ""] | None
    ) -> Float[Array, "batch width"]:
        """Run the blocks on rows, each a sequence of one position to them.

        Args:
            x: What goes in.
            rng: Randomness; None at inference.
            progress: Steps trained as a fraction of the run.
        """
        stream = self.project(x.astype(self.project.kernel.dtype))[:, None, :]
        stream = apply_blocks(self.blocks, stream, rng, remat=self.remat, drop=self.drop, progress=progress)
        return self.norm(stream)[:, 0]
