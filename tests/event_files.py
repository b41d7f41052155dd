"""Reads TensorBoard's event files, as TensorBoard itself would be too large a package for that."""

import struct
from pathlib import Path


def read_events(file: Path) -> tuple[list[tuple[str, int, float]], list[str]]:
    """Give the numbers of an event file as (name, step, value), and its texts."""
    from tensorboardX.proto.event_pb2 import Event

    data, place, numbers, texts = file.read_bytes(), 0, [], []
    while place < len(data):  # a length, its checksum, an event, its checksum
        (length,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            if value.HasField("simple_value"):
                numbers.append((value.tag, event.step, value.simple_value))
            else:
                texts.append(value.tensor.string_val[0].decode())
    return numbers, texts
