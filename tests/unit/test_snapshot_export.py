"""What a trainer reads of a snapshot: windows of chats that begin with whose work it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gtftd.corpus.snapshot import build_snapshot, estimate_tokens, export
from tests.support.snapshots import act, answer, ask, entry, fill, say, settings


def rows_of(state: Path, snapshot: str, **how: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in export(state, snapshot, "chat", split=None, **how)]


def test_a_long_session_is_cut_into_windows_and_every_turn_is_learned_once(tmp_path: Path) -> None:
    turns: list[Any] = [ask("Make the gate green.")]
    for number in range(40):
        turns += [act(say(number), f"cat part{number}", f"c{number}"), answer(say(("told", number), 200), f"c{number}")]
    fill(tmp_path, [entry(1, title="The gate", messages=tuple(turns)), entry(2)])
    snapshot = build_snapshot(tmp_path, settings("gastown")).id
    cut = [row for row in rows_of(tmp_path, snapshot, window_tokens=4000) if row["entry_id"] == "e00001"]
    whole = [row for row in rows_of(tmp_path, snapshot, window_tokens=200_000) if row["entry_id"] == "e00001"]
    learned = [turn["content"] for row in cut for turn in row["messages"] if turn["train"]]
    assert [say(number) for number in range(40)] == learned
    assert 1 == len(whole)
    assert list(range(1, len(cut) + 1)) == [row["window"] for row in cut]
    for row in cut:
        said = sum(estimate_tokens(turn["content"]) for turn in row["messages"])
        assert said <= 4000 + 50, "the head is not counted"
        assert "You are gastown/polecats/p1. Your work: gt-1, The gate." == row["messages"][0]["content"]


def test_a_span_that_begins_with_a_call_still_says_what_it_is_about(tmp_path: Path) -> None:
    """Work that was cut out of the middle of a session has no prompt of its own."""
    fill(tmp_path, [entry(1, messages=(act(say(1), "bd close gt-1"), answer("closed"))), entry(2)])
    snapshot = build_snapshot(tmp_path, settings("gastown")).id
    first = rows_of(tmp_path, snapshot)[0]["messages"]
    assert ["system", "assistant"] == [turn["role"] for turn in first[:2]]
    assert [False, True] == [turn["train"] for turn in first[:2]]


def test_entries_of_other_rigs_are_counted_and_not_named(tmp_path: Path) -> None:
    fill(tmp_path, [entry(1), entry(2), entry(3, rig="harbor", bead="hb-3")])
    manifest = build_snapshot(tmp_path, settings(), rig="gastown")
    excluded = (tmp_path / "snapshots" / manifest.id / "excluded.jsonl").read_text()
    assert 1 == manifest.excluded["not_selected"]
    assert "e00003" not in excluded
