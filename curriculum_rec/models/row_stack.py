"""Models of rows with a stack of residual blocks (device): what they share, so that a model says only what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import STREAM, Axis, LeafAxis, linear_axes
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.models.blocks import (
    FeedForward,
    Remat,
    apply_blocks,
    check_network_options,
    stack_axes,
    stack_blocks,
)
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.feature_input import Widths, check_widths
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.residual import NormPosition


@dataclass(frozen=True)
class RowStackOptions:
    """Options that all models of rows with residual blocks share.

    Parameters of the stack over ``n`` inputs:
    ``(n + 1) width + depth (2 factor width^2 + (factor + 1) width + 2 width + 1) + 2 width``.

    Args:
        width: Size of the residual stream.
        depth: Number of residual layers, unless a stage says otherwise.
        embedding_width: Size of the vector of a code; or one for every field, by its name, in a table of its own, where
            a model puts vectors side by side.
        feed_forward_factor: The hidden layers are this many times as wide.
        dropout: Rate in [0, 1) on every layer's branch.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each).
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` or ``block``.
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream.
        drop: How probably each block is left out of a step, in training; None keeps all.
    """

    TASK: ClassVar[Task] = "pointwise"
    ONE_WIDTH: ClassVar[str] = ""
    """Why all vectors must have one width, as the end of a sentence; nothing where they need not."""

    width: int = 64
    depth: int = 2
    embedding_width: Widths = 16
    feed_forward_factor: int = 2
    dropout: float = 0.1
    norm: NormName = "layer"
    remat: Remat = "none"
    norm_position: NormPosition = "pre"
    drop: BlockDrop | None = None

    def __post_init__(self) -> None:
        check_widths(self.embedding_width)
        if self.ONE_WIDTH:
            self.one_width()
        check_network_options(
            width=self.width,
            feed_forward_factor=self.feed_forward_factor,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
            norm_position=self.norm_position,
        )

    def one_width(self) -> int:
        """Give the width of all vectors.

        Raises:
            OptionError: Fields have widths of their own.
        """
        if isinstance(self.embedding_width, int):
            return self.embedding_width
        raise OptionError(
            f"model.embedding_width: {type(self).__name__} {self.ONE_WIDTH}, so that all fields need one width: give a "
            "number, or take mlp_classifier, residual_classifier, wide_deep or dcn_v2"
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

    def stack_axes(self, units: LeafAxis) -> dict[str, Any]:
        """Name the axes of what all stacks of rows share.

        Args:
            units: What goes in.
        """
        return {
            "project": linear_axes(units, Axis(STREAM, self.project.out_features)),
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM),
        }
