"""Where a step's time goes (host): a trace of a few chunks, and one page that adds it up by the parts of the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from curriculum_rec.files import write_text

PARTS = ("attention", "feed forward", "embedding", "softmax", "optimizer")
"""Names that the code gives to its parts by ``jax.named_scope``; what bears none is ``the rest``."""

Event = tuple[int, int, str]
"""Start and duration in nanoseconds, and the name of what ran."""


@dataclass(frozen=True)
class Profile:
    """One traced stretch of training.

    Args:
        folder: Where the trace and the page go.
    """

    folder: Path

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Trace what runs inside; XProf, TensorBoard and Perfetto read the trace."""
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        with jax.profiler.trace(str(self.folder), profiler_options=options):
            yield

    def write_page(self, program: str, *, steps: int, speed: Mapping[str, Any]) -> None:
        """Write ``breakdown.txt`` beside the trace.

        Args:
            program: The compiled program as text, which names every instruction's place in the code.
            steps: Steps traced.
            speed: Their row of the log (``Stretch.row``).
        """
        trace = max(self.folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
        planes = jax.profiler.ProfileData.from_file(str(trace)).planes
        lines = (
            [(int(e.start_ns), int(e.duration_ns), e.name) for e in line.events] for p in planes for line in p.lines
        )
        busy = Counter[str]()
        for events in lines:
            busy.update(own_times(events))
        write_text(self.folder / "breakdown.txt", page(busy, places(program), steps=steps, speed=speed))


def own_times(events: Iterable[Event]) -> Counter[str]:
    """Add up the nanoseconds of each name, without those of what ran inside it.

    >>> own_times([(0, 10, "loop"), (2, 3, "add"), (6, 1, "add")])
    Counter({'loop': 6, 'add': 4})
    """
    own, open_events = Counter[str](), list[Event]()
    for event in sorted(events, key=lambda event: (event[0], -event[1])):
        while open_events and open_events[-1][0] + open_events[-1][1] <= event[0]:
            open_events.pop()
        if open_events:
            own[open_events[-1][2]] -= event[1]
        own[event[2]] += event[1]
        open_events.append(event)
    return own


def places(program: str) -> dict[str, str]:
    """Read off a compiled program where in the code each instruction comes from.

    >>> places('  %add.3 = f32[] add(...), metadata={op_name="jit(f)/attention/add"}')
    {'add.3': 'jit(f)/attention/add'}
    """
    found = re.finditer(r"^\s*(?:ROOT )?%?([\w.\-]+) = .*?op_name=\"([^\"]*)\"", program, re.MULTILINE)
    return {match[1]: match[2] for match in found}


def part_of(place: str) -> tuple[str, str]:
    """Say which part an instruction belongs to, and whether it runs forward, backward or after.

    >>> part_of("jit(f)/while/transpose(jvp(model and objective))/feed forward/dot_general")
    ('feed forward', 'backward')
    """
    names = re.split(r"[/()]", place)
    part = next((name for name in reversed(names) if name in PARTS), "the rest")
    if part == "optimizer":
        return part, "update"
    return part, "backward" if "transpose" in names else "forward"


def page(busy: Mapping[str, int], place: Mapping[str, str], *, steps: int, speed: Mapping[str, Any]) -> str:
    """Add times up by part, longest first, and name the longest instructions.

    The full softmax computes its gradient together with its losses, so that it counts as forward.
    """
    known = {name: time for name, time in busy.items() if name in place}
    total = max(sum(known.values()), 1)
    by_part = Counter[tuple[str, str]]()
    for name, time in known.items():
        by_part[part_of(place[name])] += time
    seconds, share = speed["seconds"], speed["share_of_peak"]
    rows = [
        f"{steps} steps in {seconds:.3f} s: {1e3 * seconds / steps:.2f} ms a step, "
        f"{speed['positions_per_second']:,.0f} positions/s"
        + ("" if share is None else f", {share:.1%} of what the devices reach in a large matrix product"),
        "",
        f"{'part':<14}{'':<10}{'busy ms a step':>15}{'share':>8}   (busy: summed over all threads or streams)",
    ]
    for (part, direction), time in by_part.most_common():
        rows.append(f"{part:<14}{direction:<10}{time / 1e6 / steps:>15.3f}{time / total:>8.1%}")
    rows += ["", "the longest instructions"]
    for name, time in Counter(known).most_common(15):
        rows.append(f"{time / 1e6 / steps:>10.3f} ms {time / total:>6.1%}  {name}  {place[name][-80:]}")
    return "\n".join(rows) + "\n"
