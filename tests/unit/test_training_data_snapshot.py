"""From a snapshot that the real builder made to the batches of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gtftd.corpus.snapshot import build_snapshot, export
from gtftd.errors import Corrupt, Invalid, NoSpace, Refused
from gtftd.programs.train_data import forget_examples, open_examples
from gtftd.schemas.corpus import Message, ToolCall
from gtftd.schemas.snapshots import Split
from gtftd.training.batches import Batch, Cursor, Examples
from gtftd.training.examples import KeptExamples
from tests.support.disk import small_disk
from tests.support.snapshots import MERGED, REJECTED, act, answer, ask, entry, fill, say, settings
from tests.support.training_data import CHATML, base_folder, decode, encoder, spec

SHORT = {"data": {"most_tokens": 512}}


def session(number: int, turns: int = 12) -> tuple[Message, ...]:
    found: list[Message] = [Message(role="system", content="# Rules\nRead them."), ask(say(("ask", number), 12))]
    for turn in range(turns):
        found += [
            act(say((number, turn), 12), f"cat part{turn}", f"c{turn}"),
            answer(say((number, turn, 1), 30), f"c{turn}"),
        ]
    return tuple(found)


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    """Twelve sessions of two dozen messages."""
    fill(tmp_path, [entry(number, messages=session(number)) for number in range(12)])
    return build_snapshot(tmp_path, settings("gastown")).id


def opened(state: Path, snapshot: str, split: Split = "train", **changes: Any) -> KeptExamples:
    base = base_folder(CHATML)
    return open_examples(
        spec(state, snapshot, base, **(SHORT | changes)), split, base, state / "runs" / "run-1" / "data"
    )


def epoch(examples: Examples) -> list[Batch]:
    stream = examples.from_cursor(Cursor())
    return [next(stream)[0] for _ in range(examples.batches_an_epoch)]


def learned(batches: list[Batch]) -> str:
    one = encoder(CHATML)
    return "".join(decode(one, row.tokens[row.supervised]) for batch in batches for row in batch.rows)


def trainable(state: Path, snapshot: str, split: str) -> list[str]:
    rows = export(state, snapshot, "chat", split=split, window_tokens=100_000)  # type: ignore[arg-type]
    turns: list[Any] = [turn for row in rows for turn in row["messages"]]  # type: ignore[attr-defined]
    return [turn["content"] for turn in turns if turn["train"]]


def test_every_trainable_turn_of_the_train_split_is_learned_once_in_an_epoch(tmp_path: Path, snapshot: str) -> None:
    """And none of the splits that are kept back; the head and the digest are shown and not learned."""
    examples = opened(tmp_path, snapshot)
    said = learned(epoch(examples))
    wanted = trainable(tmp_path, snapshot, "train")
    assert wanted
    for text in wanted:
        assert 1 == said.count(f"{text}\n<tool_call>")
    assert len(wanted) == said.count("<|im_end|>") == said.count("</tool_call>")
    assert "You are" not in said
    assert "Read them." not in said
    assert {} == dict(examples.report.skipped)
    assert sum(batch.supervised_tokens for batch in epoch(examples)) == examples.report.supervised_tokens
    assert all(len(row.tokens) <= 512 for batch in epoch(examples) for row in batch.rows)


def test_the_held_out_split_is_another(tmp_path: Path, snapshot: str) -> None:
    held = opened(tmp_path, snapshot, "dev")
    wanted = trainable(tmp_path, snapshot, "dev")
    said = learned(list(held.once()))
    assert len(wanted) == said.count("<|im_end|>")
    assert all(text in said for text in wanted)


def test_packing_fills_rows_and_changes_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, [entry(number, messages=session(number, 1 + number % 2)) for number in range(12)])
    snapshot = build_snapshot(tmp_path, settings("gastown")).id
    packed, single = opened(tmp_path, snapshot), opened(tmp_path, snapshot, data={"most_tokens": 512, "packing": False})
    assert packed.count == single.count
    assert packed.report.rows < single.report.rows == single.count
    assert packed.report.filled > single.report.filled
    assert sorted(learned(epoch(packed)).split("<|im_end|>")) == sorted(learned(epoch(single)).split("<|im_end|>"))


def test_what_weighs_nothing_is_no_example(tmp_path: Path) -> None:
    """A step of it alone would teach nothing, and tell a loss of 0. Here: all that is more than some days old."""
    fill(tmp_path, [entry(number, messages=session(number, 1)) for number in range(12)])
    snapshot = build_snapshot(tmp_path, settings("gastown", half_life_days=0.3, least_recency=0.0)).id
    weights = [row["weight"] for row in export(tmp_path, snapshot, "chat", split="train")]
    weighed = sum(weight != 0 for weight in weights)
    assert 0 < weighed < len(weights)
    assert weighed == opened(tmp_path, snapshot).count


def test_tokens_are_made_once(tmp_path: Path, snapshot: str) -> None:
    """A run that goes on reads what its first life made; a purged run leaves nothing."""
    first = opened(tmp_path, snapshot)
    folder = tmp_path / "runs" / "run-1" / "data"
    (kept,) = folder.iterdir()
    made = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    again = opened(tmp_path, snapshot)
    assert made == {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert first.report == again.report
    said = learned(epoch(first))
    (kept / "tokens.bin").write_bytes(b"")
    with pytest.raises(Corrupt, match="anew"):
        epoch(first)
    assert said == learned(epoch(opened(tmp_path, snapshot)))
    forget_examples(folder)
    assert not folder.exists()


def test_a_tainted_snapshot_is_refused_though_its_tokens_are_kept(tmp_path: Path, snapshot: str) -> None:
    opened(tmp_path, snapshot)
    (tmp_path / "snapshots" / snapshot / "tainted.json").write_text('{"at": 1, "reason": "a key", "contents": []}')
    with pytest.raises(Refused, match="a key"):
        opened(tmp_path, snapshot)


def test_a_turn_that_is_too_long_is_skipped_and_counted(tmp_path: Path) -> None:
    """And one that only its context makes too long loses context, from the left."""
    long, fits = say("long", 600), say("fits", 90)
    turns = (ask(say("a", 30)), act(long), ask(say("b", 300)), act(fits), ask("And?"), act("Done."))
    fill(tmp_path, [entry(number, messages=turns if number == 1 else session(number)) for number in range(10)])
    made = build_snapshot(tmp_path, settings("gastown")).id
    examples = [opened(tmp_path, made, split) for split in ("train", "dev")]
    said = "".join(learned(list(one.once())) for one in examples)
    assert 1 == sum(one.report.skipped.get("oversized", 0) for one in examples)
    assert long not in said
    assert fits in said
    assert "Done." in said


def test_a_snapshot_of_which_nothing_would_be_learned_is_an_error_before_training(tmp_path: Path) -> None:
    """It names the snapshot, and what was skipped and why; nothing is kept."""
    fill(tmp_path, [entry(number, messages=(ask("Go."), act(say(number, 600)))) for number in range(8)])
    made = build_snapshot(tmp_path, settings("gastown")).id
    with pytest.raises(Invalid, match=f"snapshot {made} .* oversized"):
        opened(tmp_path, made)
    with pytest.raises(Invalid, match="by dpo"):
        opened(tmp_path, made, objective="dpo")
    assert [] == list((tmp_path / "runs" / "run-1" / "data").iterdir())


def slung_twice() -> list[Any]:
    """Beads that were rejected first and merged then; and one that was nudged in between."""
    found = []
    for number in range(0, 24, 2):
        ask_for = ask(say(("bead", number), 14))
        bad = (ask_for, act(say(("bad", number), 20), "git push --force"), answer("no"), act("Done anyway."))
        good = (ask_for, act(say(("good", number), 25), "git push"), answer("pushed"), act("Pushed."))
        found += [
            entry(number, bead=f"gt-{number}", messages=bad, outcome=REJECTED),
            entry(number + 1, bead=f"gt-{number}", messages=good, outcome=MERGED),
        ]
    return found


def test_preferences_share_their_prompt_and_end_with_an_end_of_turn(tmp_path: Path) -> None:
    """Prompt and completion are the tokens of the whole; what the tool answered is not learned."""
    fill(tmp_path, slung_twice())
    made = build_snapshot(tmp_path, settings("gastown")).id
    examples = opened(tmp_path, made, objective="dpo")
    one = encoder(CHATML)
    pairs = [pair for batch in epoch(examples) for pair in batch.pairs]
    assert examples.count == len(pairs) > 3
    for pair in pairs:
        assert decode(one, pair.prompt).endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert decode(one, pair.prompt).startswith("<|im_start|>system\nYou are gastown/polecats/")
        chosen, rejected = (decode(one, side) for side in (pair.chosen, pair.rejected))
        assert chosen.endswith("Pushed.<|im_end|>")
        assert rejected.endswith("Done anyway.<|im_end|>")
        said = decode(one, pair.chosen[pair.chosen_supervised])
        assert said.endswith("</tool_call><|im_end|>Pushed.<|im_end|>")
        whole = np.concatenate([pair.prompt, pair.chosen])
        assert one.encode(decode(one, whole), {}, ())[0].tokens.tolist() == whole.tolist()
    assert {} == dict(examples.report.skipped)
    of_four = epoch(opened(tmp_path, made, objective="dpo", optimizer={"batch_examples": 4}))
    assert [4] * (len(pairs) // 4) == [batch.examples for batch in of_four][: len(pairs) // 4]


def test_judged_completions_are_cut_to_fit(tmp_path: Path) -> None:
    """Turns at the end of a long completion are left out; the prompt keeps the head and what came last."""
    fill(
        tmp_path,
        [entry(number, messages=session(number), outcome=(MERGED, REJECTED)[number % 2]) for number in range(16)],
    )
    made = build_snapshot(tmp_path, settings("gastown")).id
    examples = opened(tmp_path, made, objective="kto", data={"most_tokens": 256})
    one = encoder(CHATML)
    found = [completion for batch in epoch(examples) for completion in batch.completions]
    assert {True, False} == {completion.good for completion in found}
    assert len({completion.weight for completion in found}) >= 1
    for completion in found:
        assert 0 < len(completion.prompt) + len(completion.completion) <= 256
        assert decode(one, completion.completion).endswith("</tool_call><|im_end|>")
        assert completion.supervised[-1]


def test_hostile_text_is_data(tmp_path: Path) -> None:
    """Long lines, deep arguments, NUL and control tokens: learned as they stand, clipped, or counted."""
    deep: Any = "ls"
    for _ in range(60):
        deep = {"in": [deep]}
    calls = (ToolCall(id="c1", name="Bash", arguments={"deep": deep, "<|im_end|>": "\0 <|im_start|>"}),)
    turns = (
        ask("A" * 3_000_000), act("Look.", "ls", "c0"), answer("\0\n" * 500_000, "c0"),
        Message(role="assistant", tool_calls=calls, trainable=True), answer("<|im_end|>" * 100_000),
        act("x" * 2_000_000), act("Done <|im_end|> \U00100000 \U000f0000."),
    )  # fmt: skip
    fill(tmp_path, [entry(number, messages=turns if number == 1 else session(number, 2)) for number in range(10)])
    made = build_snapshot(tmp_path, settings("gastown")).id
    examples = [opened(tmp_path, made, split, data={"most_tokens": 2048}) for split in ("train", "dev")]
    said = "".join(learned(list(one.once())) for one in examples)
    assert "Done <|im_end|> \U00100000 \U000f0000.<|im_end|>" in said
    assert "Look.\n<tool_call>" in said
    assert '"<|im_end|>": "\\u0000' in said
    assert [1] == [one.report.skipped["oversized"] for one in examples if one.report.skipped]


def test_whoever_waits_for_tokens_is_told_that_they_are_being_made(tmp_path: Path, snapshot: str) -> None:
    """So that a heart beats on; what is raised there ends the making."""
    base, cache = base_folder(CHATML), tmp_path / "data"

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        open_examples(spec(tmp_path, snapshot, base, **SHORT), "train", base, cache, tick=stop)
    assert [] == list(cache.iterdir())


def test_what_a_killed_life_left_half_made_is_made_anew(tmp_path: Path, snapshot: str) -> None:
    first = opened(tmp_path, snapshot)
    (kept,) = (tmp_path / "runs" / "run-1" / "data").iterdir()
    expected = learned(epoch(first))
    kept.rename(kept.with_name(f".building-{kept.name}"))
    (kept.with_name(f".building-{kept.name}") / "kept.json").unlink()
    assert expected == learned(epoch(opened(tmp_path, snapshot)))
    assert [kept] == list(kept.parent.iterdir())


def test_real_beads_said_by_agents_are_learned_as_they_stand(tmp_path: Path, shared_data: Path) -> None:
    """Two hundred descriptions of a real town: markdown, code, tables, typography."""
    lines = (shared_data / "gastown" / "beads-export-2026-02-27" / "issues.jsonl").read_text().splitlines()
    texts = sorted({json.loads(line).get("description") or "" for line in lines}, key=len)[-400::2]
    messages = [(ask(f"Describe bead {n}."), act(text)) for n, text in enumerate(texts)]
    parts = [sum(messages[at : at + 10], ()) for at in range(0, len(messages), 10)]
    fill(tmp_path, [entry(number, messages=part) for number, part in enumerate(parts)])
    made = build_snapshot(tmp_path, settings("gastown")).id
    examples = opened(tmp_path, made, data={"most_tokens": 4096})
    said = learned(epoch(examples))
    wanted = trainable(tmp_path, made, "train")
    assert wanted
    oversized = examples.report.skipped.get("oversized", 0)
    assert len(wanted) == said.count("<|im_end|>") + oversized
    assert len(wanted) - oversized == sum(f"{text}<|im_end|>" in said for text in wanted)


@pytest.mark.root
@pytest.mark.parametrize("room_bytes", [0, 60_000])
def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, snapshot: str, room_bytes: int) -> None:
    """NoSpace, which says where; the next start makes it anew."""
    base = base_folder(CHATML)
    with small_disk(tmp_path / "disk", size_mib=1) as disk:
        (disk.root / "room").write_bytes(b"0" * room_bytes)
        disk.fill()
        (disk.root / "room").unlink()
        run = spec(tmp_path, snapshot, base, **SHORT)
        with pytest.raises(NoSpace, match="free some disk"):
            open_examples(run, "train", base, disk.root / "data")
        assert [] == list(disk.root.glob("data/*"))
        disk.free()
        assert open_examples(run, "train", base, disk.root / "data").count > 0
