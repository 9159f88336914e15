"""OpenCode 2's sessions: other tables, and a step with all of its parts in one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gtftd.town.conversation import Transcript, merge
from gtftd.town.layout import TranscriptPlaces
from gtftd.town.transcript import find_transcript, read_transcript, state_of
from tests.support.transcripts_opencode import ID, OpenCodeBuilder, SecondBuilder


def said(transcript: Transcript) -> list[tuple[str, str, str]]:
    return [(message.role, message.kind, message.content) for message in merge(transcript.lines)]


def test_a_whole_session_keeps_its_order_and_its_roles(tmp_path: Path) -> None:
    """As in the first version: calls stay with their text, answers follow, reasoning is kept out."""
    session = SecondBuilder()
    session.add("agent-switched", agent="build")
    session.user("do gt-abc12")
    one = session.tool("shell", {"command": "ls"}, metadata={"exit": 2})
    two = session.tool("read", {"path": "/x"}, status="error", error={"type": "tool.execution", "message": "no file"})
    session.assistant({"type": "reasoning", "text": "the bead"}, {"type": "text", "text": "On it."}, one, two)
    session.say("Done.")
    session.add("idle", outcome="succeeded")
    transcript = read_transcript(session.write(tmp_path))
    assert [
        ("user", "turn", "do gt-abc12"),
        ("assistant", "turn", "On it."),
        ("tool", "turn", "ok"),
        ("tool", "turn", "no file"),
        ("assistant", "turn", "Done."),
    ] == said(transcript)
    messages = merge(transcript.lines)
    assert [("shell", {"command": "ls"}), ("read", {"path": "/x"})] == [
        (call.name, call.arguments) for call in messages[1].tool_calls
    ]
    assert [(one["id"], True), (two["id"], True)] == [
        (m.tool_call_id, m.is_error) for m in messages if m.role == "tool"
    ]
    assert {"bookkeeping": 2, "thinking": 1} == dict(transcript.problems)
    assert ("opencode", "2.0.12", ("claude-sonnet-4-5",), session.cwd) == (
        transcript.agent_program, transcript.version, transcript.models, transcript.cwd,
    )  # fmt: skip


def test_what_the_harness_injects_is_told_apart(tmp_path: Path) -> None:
    """Synthetic messages, skills and summaries; what a person ran themselves and the unknown are counted."""
    session = SecondBuilder()
    session.add("synthetic", text="<system-reminder>")
    session.add("skill", text="how to")
    session.add("compaction", status="completed", summary="We did it.", recent="")
    session.add("compaction", status="running", summary="")
    session.add("shell", command="ls", status="completed")
    session.add("hologram", data=1)
    session.add("user", text="look", files=[{"mime": "image/png"}, 7])
    session.assistant({"type": "text", "text": "half"}, error={"type": "provider", "message": "529"})
    transcript = read_transcript(session.write(tmp_path))
    assert [
        ("user", "meta", "<system-reminder>"),
        ("user", "meta", "how to"),
        ("system", "compaction", "We did it."),
        ("user", "turn", "look"),
        ("assistant", "meta", "half"),
    ] == said(transcript)
    expected = {"bookkeeping": 1, "user_shell": 1, "unknown_type": 1, "image": 1, "document": 1, "api_error": 1}
    assert expected == dict(transcript.problems)
    assert not any(line.message.trainable for line in transcript.lines)


@pytest.mark.parametrize("data", [{"content": 7}, {"content": [7, {}, {"type": "tool"}]}, {"model": 7, "error": 7}])
def test_poison_is_counted_and_hurts_no_neighbour(data: dict[str, Any], tmp_path: Path) -> None:
    """Whatever one row holds, the rows before and after it are read."""
    session = SecondBuilder()
    session.user("before")
    session.add("assistant", **data)
    session.user("after")
    contents = [line.message.content for line in read_transcript(session.write(tmp_path)).lines]
    assert ("before", "after") == (contents[0], contents[-1])


def test_the_tables_that_an_upgrade_left_behind_are_not_asked(tmp_path: Path) -> None:
    """A session that is in both is read from the new ones; one that is only in the old ones from there."""
    old, other, new = OpenCodeBuilder(), OpenCodeBuilder("ses_old"), SecondBuilder()
    for one, text in ((old, "stale"), (other, "only here"), (new, "fresh")):
        one.user(text)
    old.write_database(tmp_path)
    only = other.write_database(tmp_path)
    path = new.write(tmp_path)
    assert (["fresh"], ["only here"]) == (
        [content for _, _, content in said(read_transcript(path))],
        [content for _, _, content in said(read_transcript(only))],
    )
    places = TranscriptPlaces(opencode=(tmp_path,))
    assert (path, only) == (find_transcript(ID, places), find_transcript("ses_old", places))
    before = state_of(path)
    new.say("more")
    new.write(tmp_path)
    assert None not in (before, state_of(path)) and before != state_of(path)


def test_what_a_person_took_back_and_sub_sessions_are_left_out(tmp_path: Path) -> None:
    """By the same marks as in the first version."""
    session = SecondBuilder()
    session.user("one")
    session.revert = {"messageID": session.user("two")}
    session.say("second")
    transcript = read_transcript(session.write(tmp_path))
    assert (["one"], 2) == ([content for _, _, content in said(transcript)], transcript.problems["abandoned"])
    child = SecondBuilder("ses_child", parent=ID)
    child.user("inside")
    assert () == read_transcript(child.write(tmp_path)).lines
