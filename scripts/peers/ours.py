"""Contestant of scripts/bench_peers: this project's SASRec."""

import time
from dataclasses import replace

import jax
from flax import nnx
from score import DROPOUT, HEADS, K, Lists, Race, parse

from curriculum_rec import AdamW, Curriculum, Placement, SASRec, Scheduler, SequenceExamples, Softmax
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import SequencesFile
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.inference import recommend
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.state import TrainState


def main() -> None:
    """Train and recommend until the race is finished."""
    arguments, sequences = parse(batch=0)
    # Positions; on Beauty a step then has about as many targets as one of RecTools.
    arguments.batch = arguments.batch or (1024 if arguments.max_length <= 50 else 32 * arguments.max_length)
    split = LeaveOneOut()(clean(SequencesFile(str(arguments.path)).read(), {}, source=str(arguments.path)))
    table, known = split.interactions, split.part != Part.TEST
    histories = replace(table, user=table.user[known], item=table.item[known])
    lengths = (4, 8, 16, 32, 64, 100)
    cut = SequenceExamples(arguments.max_length, bucket_lengths=lengths, positions_per_batch=arguments.batch)
    examples = cut(split)
    steps, seed = examples.batches_per_epoch, arguments.seed

    def lists() -> Lists:
        top = recommend(state.structure, state.params, histories, k=K, max_length=cut.max_length, lengths=cut.lengths)
        users, items = (top[name].cast(int).to_numpy().reshape(-1, K) for name in ("user", "item"))
        return users[:, 0], items

    with Race(arguments, sequences, lists, "curriculum-rec", "jax", "jaxlib", "flax", "numpy") as race:
        race.device_peak = lambda: jax.devices()[0].memory_stats()["peak_bytes_in_use"]
        race.begun = time.perf_counter()  # initial values and compilation count
        placed, optimizer = Placement("jit").place(), AdamW(learning_rate=arguments.learning_rate)(1)
        scheduler = Scheduler(Curriculum(), examples, seed, arguments.epochs * steps)
        engine = Engine(Softmax(), optimizer, scheduler, placed, seed, precision=arguments.precision)
        options = SASRec(width=arguments.width, depth=arguments.depth, n_heads=HEADS, dropout=DROPOUT)
        module = options(n_items=table.n_items, max_length=cut.max_length, rngs=nnx.Rngs(seed))
        state, position = placed.place_state(TrainState.create(module, optimizer)), scheduler.begin()
        for epoch in range(1, arguments.epochs + 1):
            race.epoch_begin()
            chunks = []
            state, position = engine.train(
                state, position, stop_at=epoch * steps, on_chunk=chunks.append, interrupted=lambda: race.late
            )
            jax.block_until_ready(state)
            race.counted = sum(chunk.positions for chunk in chunks)
            if int(state.step) < epoch * steps:
                race.batch(0)
            race.epoch_end()


if __name__ == "__main__":
    main()
