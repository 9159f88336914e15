"""Rows, batches and their order: nothing lost, nothing doubled, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.errors import Invalid
from gtftd.training.batches import Batch, Cursor, Row
from gtftd.training.examples import KeptExamples, Layout
from gtftd.training.kept import Reader, Writer
from gtftd.training.order import generator, shuffled
from gtftd.training.packing import pack
from gtftd.training.report import DataReport


def made(folder: Path, lengths: list[int], *, packing: bool = True, batch_examples: int = 4) -> KeptExamples:
    """Example `i` is the token `i`, as often as it is long."""
    report = DataReport(snapshot="s", split="train", entries=1, examples=len(lengths), tokens=sum(lengths),
                        supervised_tokens=sum(lengths))  # fmt: skip
    with Writer(folder, "key", 1) as writer:
        for number, length in enumerate(lengths):
            writer.add([(np.full(length, number, np.int32), np.arange(length) > 0)])
        writer.commit(report)
    kept = Reader.open(folder, "key")
    assert kept is not None
    return KeptExamples(kept, Layout("sft", 64, batch_examples, packing, 7))


def seen(batches: list[Batch]) -> Counter[tuple[int, int]]:
    """(example, tokens) of every segment."""
    found: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        for row in batch.rows:
            for segment in range(row.examples):
                tokens = row.tokens[row.segments == segment]
                found[int(tokens[0]), len(tokens)] += 1
    return found


def check(row: Row) -> None:
    assert len(row.tokens) <= 64
    assert row.examples == len(set(row.segments.tolist()))
    starts = np.flatnonzero(row.positions == 0)
    assert row.examples == len(starts)
    assert not row.supervised[starts].any()
    assert (np.diff(row.segments) == (row.positions[1:] == 0)).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=60), st.booleans(), st.integers(1, 9))
def test_every_example_is_in_an_epoch_once(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], packing: bool, batch_examples: int
) -> None:
    """Whole, in rows that are not too long, with positions from 0."""
    folder = tmp_path_factory.mktemp("kept") / "x"
    examples = made(folder, lengths, packing=packing, batch_examples=batch_examples)
    stream = examples.from_cursor(Cursor())
    expected = Counter(enumerate(lengths))
    for epoch in range(3):
        batches, cursor = [], Cursor(epoch)
        while cursor.epoch == epoch:
            batch, cursor = next(stream)
            batches.append(batch)
        assert expected == seen(batches)
        assert len(batches) == examples.batches_an_epoch
        assert all(batch.examples == batch_examples for batch in batches[:-1])
        for batch in batches:
            for row in batch.rows:
                check(row)
                assert len(row.tokens) <= examples.longest_row <= 64
    assert packing or max(lengths) == examples.longest_row
    assert expected == seen(list(examples.once()))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 100), max_size=300))
def test_first_fit_decreasing_leaves_no_two_rows_that_would_fit_into_one(lengths: list[int]) -> None:
    """And every example is in a row."""
    rows = pack(np.array(lengths, np.int64), np.arange(len(lengths)), 100)
    assert list(range(len(lengths))) == sorted(int(one) for row in rows for one in row)
    sizes = sorted(sum(lengths[one] for one in row) for row in rows)
    assert all(size <= 100 for size in sizes)
    assert len(rows) < 2 or sizes[0] + sizes[1] > 100


def test_a_cursor_is_enough_to_go_on_in_another_process(tmp_path: Path) -> None:
    """From any batch on, over the end of the epoch, whatever PYTHONHASHSEED is."""
    lengths = [1 + (37 * number) % 60 for number in range(80)]
    examples = made(tmp_path / "x", lengths)
    stream = examples.from_cursor(Cursor())
    told = [next(stream) for _ in range(2 * examples.batches_an_epoch + 3)]
    for place in (0, 3, examples.batches_an_epoch - 1, examples.batches_an_epoch):
        again = examples.from_cursor(told[place][1])
        for batch, cursor in told[place + 1 :]:
            other, there = next(again)
            assert cursor == there
            assert [row.tokens.tolist() for row in batch.rows] == [row.tokens.tolist() for row in other.rows]
    code = (
        "import sys; from pathlib import Path; from gtftd.training.batches import Cursor;"
        "from gtftd.training.examples import KeptExamples, Layout; from gtftd.training.kept import Reader;"
        f"examples = KeptExamples(Reader.open(Path({str(tmp_path / 'x')!r}), 'key'), Layout('sft', 64, 4, True, 7));"
        "stream = examples.from_cursor(Cursor(0, 2));"
        "print(*[int(row.tokens[0]) for _ in range(9) for row in next(stream)[0].rows])"
    )
    expected = [str(row.tokens[0]) for batch, _ in told[2:11] for row in batch.rows]
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True,
                             env={**os.environ, "PYTHONHASHSEED": seed})  # fmt: skip
        assert expected == run.stdout.split()


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    """These numbers stay: a run that is resumed under a later version must see the same order."""
    assert [7, 5, 0, 2, 1, 3, 6, 4] == shuffled(8, generator(0, 0)).tolist()
    assert shuffled(50, generator(0, 0)).tolist() != shuffled(50, generator(0, 1)).tolist()
    assert shuffled(50, generator(0, 0)).tolist() != shuffled(50, generator(1, 0)).tolist()


def test_a_cursor_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="other data"):
        made(tmp_path / "x", [1, 2, 3]).from_cursor(Cursor(0, 9))


def test_what_is_kept_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A changed file, another key, and a writer that died make it be made anew."""
    made(tmp_path / "x", [3, 4])
    assert Reader.open(tmp_path / "x", "other") is None
    with (tmp_path / "x" / "tokens.bin").open("r+b") as file:
        file.write(b"\x09")
    assert Reader.open(tmp_path / "x", "key") is None
    with pytest.raises(RuntimeError), Writer(tmp_path / "y", "key", 1) as writer:
        writer.add([(np.ones(3, np.int32), np.ones(3, np.bool_))])
        raise RuntimeError
    assert ["x"] == sorted(path.name for path in tmp_path.iterdir())
