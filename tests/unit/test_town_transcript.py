"""Claude Code's transcripts: every shape that real files have, and every poison that a hostile one may hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.town.conversation import Transcript, merge
from gtftd.town.layout import TranscriptPlaces
from gtftd.town.transcript import find_transcript, peek_transcript, read_transcript
from tests.support.transcripts import START, TranscriptBuilder, text, tool_use


def read(builder: TranscriptBuilder, tmp_path: Path) -> Transcript:
    return read_transcript(builder.write(tmp_path))


def said(transcript: Transcript) -> list[tuple[str, str, str]]:
    return [(message.role, message.kind, message.content) for message in merge(transcript.lines)]


def test_a_whole_session_keeps_its_order_and_its_roles(tmp_path: Path) -> None:
    """Prompts as strings and as blocks, answers, calls and results of both shapes."""
    session = TranscriptBuilder()
    session.user("do gt-abc12")
    session.say("On it.")
    ident = session.call("Bash", command="git status")
    session.result(ident, [text("clean"), text("tree")])
    session.user([text("go on")])
    transcript = read(session, tmp_path)
    assert [
        ("user", "turn", "do gt-abc12"),
        ("assistant", "turn", "On it."),
        ("assistant", "turn", ""),
        ("tool", "turn", "clean\ntree"),
        ("user", "turn", "go on"),
    ] == said(transcript)
    call = transcript.lines[2].message.tool_calls[0]
    assert ("Bash", {"command": "git status"}, ident) == (
        call.name,
        call.arguments,
        transcript.lines[3].message.tool_call_id,
    )
    assert [False, True, True, False, False] == [line.message.trainable for line in transcript.lines]
    assert [0, 1, 2, 3, 4] == [line.index for line in transcript.lines]
    assert START == transcript.lines[0].at


def test_the_session_says_who_it_is(tmp_path: Path) -> None:
    """Id, model, folder, version and branch come from the lines; a peek agrees."""
    session = TranscriptBuilder()
    session.user("hello")
    session.say("hi")
    path = session.write(tmp_path)
    transcript, head = read_transcript(path), peek_transcript(path)
    assert (session.session_id, ("claude-opus-4-6",), session.cwd) == (
        transcript.session_id,
        transcript.models,
        transcript.cwd,
    )
    assert ("2.1.34", "polecat/nux/gt-abc12@mlx") == (transcript.version, transcript.git_branch)
    assert head is not None and (head.session_id, head.cwd, head.started_at) == (session.session_id, session.cwd, START)


def test_pieces_of_one_message_become_one(tmp_path: Path) -> None:
    """Claude Code writes a line for each block; results of parallel calls may stand between them."""
    session = TranscriptBuilder()
    session.assistant({"type": "thinking", "thinking": "hmm", "signature": "x"}, id="msg_1")
    session.assistant(text("Looking."), id="msg_1")
    session.assistant(tool_use("toolu_1", command="ls"), id="msg_1")
    session.result("toolu_1")
    session.assistant(tool_use("toolu_2", command="pwd"), id="msg_1")
    session.result("toolu_2")
    transcript = read(session, tmp_path)
    first, *others = merge(transcript.lines)
    assert "Looking." == first.content
    assert ["toolu_1", "toolu_2"] == [call.id for call in first.tool_calls]
    assert ["toolu_1", "toolu_2"] == [message.tool_call_id for message in others]
    assert "hmm" == transcript.lines[0].thinking and 1 == transcript.problems["thinking"]
    assert "hmm" not in repr(merge(transcript.lines))


def test_what_the_harness_injects_is_told_apart(tmp_path: Path) -> None:
    """Hook output, reminders, command output, compaction and api errors are no turns and not trainable."""
    session = TranscriptBuilder()
    session.hook("# Polecat Context")
    session.user("<system-reminder>todo</system-reminder>")
    session.user("<user-prompt-submit-hook>mail</user-prompt-submit-hook>")
    session.user("<local-command-stdout>ok</local-command-stdout>")
    session.user("Caveat", isMeta=True)
    session.add(
        "system",
        subtype="compact_boundary",
        content="Conversation compacted",
        parent=None,
        logicalParentUuid=session.parent,
    )
    session.user("This session is being continued", isCompactSummary=True)
    session.assistant(text("API Error: 529"), isApiErrorMessage=True)
    session.add("attachment", attachment={"type": "queued_command", "prompt": "nudge: look at your hook"})
    transcript = read(session, tmp_path)
    assert ["hook", "meta", "hook", "meta", "meta", "compaction", "compaction", "meta", "turn"] == [
        kind for _, kind, _ in said(transcript)
    ]
    assert not any(line.message.trainable for line in transcript.lines)
    assert "nudge: look at your hook" == transcript.lines[-1].message.content


def test_what_is_no_conversation_is_counted(tmp_path: Path) -> None:
    """Sidechains, images, bookkeeping, foreign summaries, duplicates and the unknown leave a number behind."""
    session = TranscriptBuilder()
    session.add("summary", summary="another session", leafUuid="gone", parent=None)
    session.user("look")
    session.add("file-history-snapshot", snapshot={})
    session.add("progress", data={"type": "hook_progress"})
    session.add("hologram", data=1)
    session.user("inside", isSidechain=True)
    ident = session.call("Read", file_path="/a.png")
    session.result(ident, [{"type": "image", "source": {"data": "AAAA"}}])
    session.lines.append(dict(session.lines[1]))
    session.user([{"type": "smell", "x": 1}, 7, text("ok")])
    transcript = read(session, tmp_path)
    expected = {
        "foreign_summary": 1,
        "bookkeeping": 2,
        "unknown_type": 1,
        "sidechain": 1,
        "image": 1,
        "duplicate": 1,
        "unknown_block": 2,
    }
    assert expected == dict(transcript.problems)
    assert ["look", "", "", "ok"] == [content for _, _, content in said(transcript)]
    assert {"bookkeeping": 2, "unknown_type": 1, "sidechain": 1} == dict(transcript.lines[1].dropped)


def test_a_rewind_leaves_its_branch_behind(tmp_path: Path) -> None:
    """The branch that leads to the last word stays; what was taken back goes."""
    session = TranscriptBuilder()
    session.user("first")
    fork = session.say("ready")["uuid"]
    session.user("wrong way")
    session.bash("rm x")
    session.user("right way", parent=fork)
    session.say("better")
    transcript = read(session, tmp_path)
    assert ["first", "ready", "right way", "better"] == [content for _, _, content in said(transcript)]
    assert 3 == transcript.problems["abandoned"]


def test_parallel_calls_are_no_rewind(tmp_path: Path) -> None:
    """Results hang on the line of their call, so that a naive walk from the leaf would lose half of them."""
    session = TranscriptBuilder()
    session.user("go")
    one = session.assistant(tool_use("toolu_1", command="a"), id="msg_1")["uuid"]
    two = session.assistant(tool_use("toolu_2", command="b"), id="msg_1")["uuid"]
    session.result("toolu_1", parent=one)
    session.result("toolu_2", parent=two)
    session.say("both done")
    transcript = read(session, tmp_path)
    assert ["toolu_1", "toolu_2"] == [
        line.message.tool_call_id for line in transcript.lines if line.message.role == "tool"
    ]
    assert "abandoned" not in transcript.problems


def test_lines_whose_parent_was_never_written_stay(tmp_path: Path) -> None:
    """A linear file with holes, a compaction, a copy of another session's history: nothing is lost."""
    session = TranscriptBuilder()
    session.user("one", parent="never-written")
    session.say("two")
    session.user("three", parent="never-written-either")
    session.say("four", parent=None)
    assert ["one", "two", "three", "four"] == [content for _, _, content in said(read(session, tmp_path))]


@pytest.mark.parametrize(
    ("poison", "counted"),
    [
        (b'{"type":"user","message":{"role":"us\n', "not_json"),
        (b"[1,2]\n", "not_object"),
        (b'{"type":"user","message":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", "too_deep"),
        (b'{"type":"user","message":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}\n", "too_deep"),
        (b'{"type":"user","message":{"content":"\xff\xfe bad"}}\n', "bad_utf8"),
        (b"\0\0\0\0" + b'{"type":"user","message":{"content":"nul"}}\n', "nul"),
        (b'{"type":"user","x":' + b"9" * 5000 + b"}\n", "not_json"),
        (b'{"type":"user","message":7}\n', "no_message"),
        (b'{"type":["user"],"message":{}}\n', "unknown_type"),
        (b'{"type":"user","message":{"content":{"a":1}}}\n', "unknown_block"),
        (b'{"type":"user","message":{"content":"' + b"x" * 70_000 + b'"}}\n', "too_long"),
    ],
)  # fmt: skip
def test_poison_is_counted_and_hurts_no_neighbour(poison: bytes, counted: str, tmp_path: Path) -> None:
    """Whatever one line holds, the lines before and after it are read."""
    session = TranscriptBuilder()
    session.user("before")
    path = session.write(tmp_path)
    session.user("after")
    before, after = session.encode().splitlines(keepends=True)
    path.write_bytes(before + poison + after)
    transcript = read_transcript(path, max_line_bytes=65_536)
    contents = [line.message.content for line in transcript.lines]
    assert ("before", "after") == (contents[0], contents[-1])
    assert 1 == transcript.problems[counted]


def test_strange_characters_come_out_encodable(tmp_path: Path) -> None:
    """Lone surrogates and NUL written as escapes, times out of range: replaced, not passed on."""
    session = TranscriptBuilder()
    session.user("a\ud800b\0c", timestamp="0001-01-01T00:00:00+14:00")
    line = read(session, tmp_path).lines[0]
    assert ("a\ufffdb\ufffdc", None) == (line.message.content, line.at)


def test_a_line_of_64_mib_is_never_held(tmp_path: Path) -> None:
    """The long line is skipped in pieces: memory stays far below its size."""
    import tracemalloc

    session = TranscriptBuilder()
    session.user("before")
    path = session.write(tmp_path)
    with path.open("ab") as file:
        for _ in range(64):
            file.write(b"x" * 1024 * 1024)
        file.write(
            b"\n" + session.encode().replace(b"before", b"after").replace(session.lines[0]["uuid"].encode(), b"u2")
        )
    tracemalloc.start()
    transcript = read_transcript(path, max_line_bytes=1024 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (["before", "after"], 1) == (
        [line.message.content for line in transcript.lines],
        transcript.problems["too_long"],
    )
    assert peak < 8 * 1024 * 1024


def test_a_half_line_at_the_end_waits(tmp_path: Path) -> None:
    """A file that is being written ends anywhere; all whole lines are read, and reading more adds only lines."""
    session = TranscriptBuilder()
    session.user("one")
    session.bash("ls")
    session.say("two")
    path, whole = session.write(tmp_path), session.encode()
    full = read_transcript(path).lines
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        part = read_transcript(path)
        assert full[: len(part.lines)] == part.lines
        assert {"half_line"} >= set(part.problems)


def test_nothing_to_peek_at(tmp_path: Path) -> None:
    """An empty file, or one that names no session, has no head."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"")
    assert peek_transcript(path) is None
    path.write_bytes(b'{"type":"summary"}\n' + b"x" * 3_000_000)
    assert peek_transcript(path) is None


def test_a_transcript_is_found_by_its_id_alone(tmp_path: Path) -> None:
    """In any account and any project folder, whatever its name; ids that are no ids find nothing."""
    session = TranscriptBuilder()
    session.user("x")
    path = session.write(tmp_path / "account2")
    places = TranscriptPlaces(claude=(tmp_path / "missing", tmp_path / "account2"))
    assert path == find_transcript(session.session_id, places)
    assert find_transcript("0" * 36, places) is None
    assert find_transcript("../" + session.session_id, places) is None


def test_times_are_read_as_utc(tmp_path: Path) -> None:
    """Offsets are turned to UTC, naive times are UTC, nonsense is None."""
    session = TranscriptBuilder()
    for stamp in ("2026-03-05T12:00:00+02:00", "2026-03-05T10:00:00", "yesterday", 5):
        session.user("x", timestamp=stamp)
    ten = datetime(2026, 3, 5, 10, tzinfo=UTC)
    lines = read(session, tmp_path).lines
    assert [ten, ten, None, None] == [line.at for line in lines]
    assert lines[0].at is not None and lines[0].at.utcoffset() == timedelta(0)


def test_reading_is_linear_in_the_lines(tmp_path: Path) -> None:
    """Thirty thousand lines in one chain are read; a walk to the root from each would never end."""
    session = TranscriptBuilder(step=timedelta(milliseconds=1))
    for number in range(30_000):
        session.user(str(number))
    path = session.write(tmp_path)
    assert 30_000 == len(read_transcript(path).lines)
    assert json.loads(path.read_bytes().splitlines()[-1])["message"]["content"] == "29999"
