"""Files broken at random: a frame or one sentence. ``scripts/fuzz_readers`` breaks twenty thousand."""

import pytest

pytest.importorskip("adbc_driver_sqlite", reason="the extra 'sql' is not installed")

import mutated_files


def test_whole_files_are_read(tmp_path):
    for ending, content, readers in mutated_files.seeds():
        path = tmp_path / f"whole{ending}"
        path.write_bytes(content)
        read = [mutated_files.read_one(reader(str(path))) for reader in readers]
        assert None in read, (ending, read)


def test_broken_files_give_a_frame_or_one_sentence(tmp_path):
    counts = mutated_files.tally(mutated_files.read_mutated(tmp_path, 340, seed=1))
    assert sum(counts.values()) > 340
    endings = {ending for ending, _ in counts}
    assert len(endings) == 12
    assert all(counts[ending, "refused"] for ending in endings)  # else nothing was broken
    assert sum(number for (_, kind), number in counts.items() if kind == "read") > 50
