"""OpenCode's sessions in both stores: every shape that real ones have, and every poison that a hostile one may hold."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gtftd.town.conversation import Transcript, merge
from gtftd.town.layout import TranscriptPlaces
from gtftd.town.transcript import find_transcript, peek_transcript, read_transcript, state_of, written_at
from tests.support.transcripts import START
from tests.support.transcripts_opencode import ID, OpenCodeBuilder

Write = Callable[[OpenCodeBuilder, Path], Path]
STORES: list[Write] = [OpenCodeBuilder.write, OpenCodeBuilder.write_database]
both = pytest.mark.parametrize("write", STORES, ids=["files", "database"])


def said(transcript: Transcript) -> list[tuple[str, str, str]]:
    return [(message.role, message.kind, message.content) for message in merge(transcript.lines)]


@both
def test_a_whole_session_keeps_its_order_and_its_roles(write: Write, tmp_path: Path) -> None:
    """Calls of one step stay together with their text, answers follow; reasoning is kept out of it."""
    session = OpenCodeBuilder()
    session.user("do gt-abc12")
    session.assistant()
    session.part("reasoning", text="the bead first", time={"start": session.tick()})
    session.text("On it.")
    one = session.tool("bash", {"command": "ls"}, output="a", metadata={"exit": 0})
    two = session.tool("read", {"filePath": "/x"}, status="error", error="no such file")
    session.part("step-finish", reason="tool-calls", cost=0, tokens={})
    session.say("Done.")
    transcript = read_transcript(write(session, tmp_path))
    assert [
        ("user", "turn", "do gt-abc12"),
        ("assistant", "turn", "On it."),
        ("tool", "turn", "a"),
        ("tool", "turn", "no such file"),
        ("assistant", "turn", "Done."),
    ] == said(transcript)
    messages = merge(transcript.lines)
    assert [(one, "bash", {"command": "ls"}), (two, "read", {"filePath": "/x"})] == [
        (call.id, call.name, call.arguments) for call in messages[1].tool_calls
    ]
    assert [(one, False), (two, True)] == [(m.tool_call_id, m.is_error) for m in messages if m.role == "tool"]
    assert {"bookkeeping": 4, "thinking": 1} == dict(transcript.problems)
    assert "the bead first" not in repr(messages)
    assert ("opencode", ID, ("claude-sonnet-4-5",), session.cwd) == (
        transcript.agent_program, transcript.session_id, transcript.models, transcript.cwd,
    )  # fmt: skip
    assert list(range(len(transcript.lines))) == [line.index for line in transcript.lines]


def test_both_stores_tell_the_same(tmp_path: Path) -> None:
    """A session that was migrated gives the same lines; only the version of the program is another."""
    session = OpenCodeBuilder()
    for number in range(12):
        session.user(f"prompt {number}")
        session.bash(f"echo {number}")
        session.say("ok")
    files, rows = read_transcript(session.write(tmp_path)), read_transcript(session.write_database(tmp_path))
    assert files.lines == rows.lines
    assert ("1.1.4", "1.2.10") == (files.version, rows.version)


@both
def test_what_the_harness_injects_is_told_apart(write: Write, tmp_path: Path) -> None:
    """Synthetic texts are context, a compaction and its summary are told as such, files are counted."""
    session = OpenCodeBuilder()
    session.user("look at @a.png")
    session.part("text", text="Called the Read tool", synthetic=True)
    session.part("text", text="never sent", ignored=True)
    session.part("file", mime="image/png", url="data:image/png;base64,AAAA")
    session.part("file", mime="text/plain", url="file:///x")
    session.message("user", agent="build")
    session.part("compaction", auto=True)
    session.assistant(summary=True)
    session.text("We looked at a picture.")
    session.say("Next.")
    transcript = read_transcript(write(session, tmp_path))
    assert [
        ("user", "turn", "look at @a.png"),
        ("user", "meta", "Called the Read tool"),
        ("system", "compaction", "Conversation compacted"),
        ("system", "compaction", "We looked at a picture."),
        ("assistant", "turn", "Next."),
    ] == said(transcript)
    assert [False, False, False, False, True] == [line.message.trainable for line in transcript.lines]
    assert {"bookkeeping": 3, "ignored": 1, "image": 1, "document": 1} == dict(transcript.problems)


@both
def test_an_answer_that_failed_is_not_learned_from(write: Write, tmp_path: Path) -> None:
    """An error of the provider makes it no turn of the agent's; one that a person stopped is one as far as it goes."""
    session = OpenCodeBuilder()
    session.assistant(error={"name": "APIError", "data": {}})
    session.text("half")
    session.assistant(error={"name": "MessageAbortedError", "data": {}})
    session.text("stopped")
    transcript = read_transcript(write(session, tmp_path))
    assert [("assistant", "meta", "half"), ("assistant", "turn", "stopped")] == said(transcript)
    assert [False, True] == [line.message.trainable for line in transcript.lines]
    assert (1, 1) == (transcript.problems["api_error"], transcript.problems["aborted"])


@both
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"metadata": {"exit": 0}}, ("ok", False)),
        ({"metadata": {"exit": 3}}, ("ok", True)),
        ({"metadata": {"exit": None}}, ("ok", True)),
        ({"metadata": {}}, ("ok", False)),
        ({"status": "error", "error": "bad"}, ("bad", True)),
        ({"status": "error", "error": "cut", "metadata": {"interrupted": True, "output": "so far"}}, ("so far", True)),
        ({"status": "running"}, None),
        ({"status": "pending"}, None),
        ({"status": "dreaming"}, None),
    ],
)
def test_what_became_of_a_call(
    write: Write, state: dict[str, Any], expected: tuple[str, bool] | None, tmp_path: Path
) -> None:
    """An exit code that is not 0 is an error; a call that is not over has no answer yet."""
    session = OpenCodeBuilder()
    session.assistant()
    session.tool("bash", {"command": "x"}, **state)
    found = [line.message for line in read_transcript(write(session, tmp_path)).lines if line.message.role == "tool"]
    assert ([] if expected is None else [expected]) == [(message.content, message.is_error) for message in found]


@both
def test_what_a_person_took_back_is_left_out(write: Write, tmp_path: Path) -> None:
    """A revert that no new prompt has made final yet: the message and all after it, or from one part on."""
    session = OpenCodeBuilder()
    session.user("one")
    session.say("first")
    taken = session.user("two")
    session.say("second")
    session.session["revert"] = {"messageID": taken}
    transcript = read_transcript(write(session, tmp_path / "a"))
    assert ["one", "first"] == [content for _, _, content in said(transcript)]
    assert 2 == transcript.problems["abandoned"]
    message = session.assistant()
    session.text("kept")
    part = session.text("gone")
    session.session["revert"] = {"messageID": message, "partID": part}
    transcript = read_transcript(write(session, tmp_path / "b"))
    assert ["one", "first", "two", "second", "kept"] == [content for _, _, content in said(transcript)]


@both
def test_a_sub_session_is_no_session(write: Write, tmp_path: Path) -> None:
    """What a task tool started has no lines here, only a count, and is found by no sweep."""
    session = OpenCodeBuilder(parentID="ses_parent")
    session.user("inside")
    path = write(session, tmp_path)
    transcript = read_transcript(path)
    assert ((), {"sidechain": 1}) == (transcript.lines, dict(transcript.problems))
    if path.suffix:
        assert peek_transcript(path) is None


def test_a_peek_says_where_and_when(tmp_path: Path) -> None:
    """As the session's own file has it."""
    session = OpenCodeBuilder()
    head = peek_transcript(session.write(tmp_path))
    assert head is not None
    assert (ID, session.cwd, START, "1.1.4") == (head.session_id, head.cwd, head.started_at, head.version)


@both
def test_equal_states_have_equal_content(write: Write, tmp_path: Path) -> None:
    """A message more, a part that was written anew, and a revert are other states; nothing is the same one."""
    session = OpenCodeBuilder()
    session.user("one")
    path = write(session, tmp_path)
    states = [state_of(path), state_of(path)]
    session.assistant()
    session.tool("bash", {"command": "x"}, status="running")
    write(session, tmp_path)
    states.append(state_of(path))
    session.parts[session.messages[-1]["id"]][-1]["state"] |= {"status": "completed"}
    session.tick()
    write(session, tmp_path)
    states.append(state_of(path))
    session.session["revert"] = {"messageID": session.messages[-1]["id"]}
    session.tick()
    write(session, tmp_path)
    states.append(state_of(path))
    assert None not in states
    assert states[0] == states[1]
    assert 4 == len(set(states))
    assert written_at(path) is not None


def test_a_session_that_is_gone_has_no_state(tmp_path: Path) -> None:
    """Neither has what only looks like one."""
    session = OpenCodeBuilder()
    row = session.write_database(tmp_path)
    names = [
        tmp_path / "storage" / "session" / "p" / f"{ID}.json",
        row.with_name("ses_other"),
        tmp_path / "other.db" / ID,
        tmp_path / "ses_x.json",
        row.parent,
    ]
    assert [None] * 5 == [state_of(name) for name in names]
    assert [None] * 4 == [written_at(name) for name in names[:4]]


@pytest.mark.parametrize(
    ("poison", "counted"),
    [
        (b"", None),
        (b'{"type":"text","te', "not_json"),
        (b"[1]", "not_object"),
        (b"[" * 9000 + b"]" * 9000, "too_deep"),
        (b'{"type":"text","text":"\xff"}', "bad_utf8"),
        (b'{"type":"text","text":"\0"}', "nul"),
        (b'{"type":{},"text":7}', "unknown_block"),
        (b'{"type":"tool","state":[]}', "bad_input"),
        (b'{"type":"tool","state":{"input":{},"status":"completed","time":{"end":1e99},"output":7}}', None),
        (b'{"type":"text","text":"' + b"x" * 70_000 + b'"}', "too_long"),
    ],
)  # fmt: skip
@both
def test_poison_is_counted_and_hurts_no_neighbour(
    write: Write, poison: bytes, counted: str | None, tmp_path: Path
) -> None:
    """Whatever one part holds, the parts before and after it are read."""
    session = OpenCodeBuilder()
    session.assistant()
    session.text("before")
    bad = session.text("bad")
    session.text("after")
    path = write(session, tmp_path)
    if path.suffix:
        (tmp_path / "storage" / "part" / session.messages[0]["id"] / f"{bad}.json").write_bytes(poison)
    else:
        with contextlib.closing(sqlite3.connect(path.parent)) as database:
            database.execute("UPDATE part SET data = CAST(? AS TEXT) WHERE id = ?", (poison, bad))
            database.commit()
    transcript = read_transcript(path, max_line_bytes=65_536)
    contents = [line.message.content for line in transcript.lines]
    assert ("before", "after") == (contents[0], contents[-1])
    assert counted is None or 1 == transcript.problems[counted]


def test_a_file_that_is_being_written_ends_anywhere(tmp_path: Path) -> None:
    """Cut at every byte, each file of a session takes away its own words and no others."""
    session = OpenCodeBuilder()
    session.user("one")
    session.bash("ls")
    path = session.write(tmp_path)
    full = [content for _, _, content in said(read_transcript(path))]
    files = [file for file in sorted((tmp_path / "storage").rglob("*.json")) if file != path]
    for file in files:
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            part = [content for _, _, content in said(read_transcript(path))]
            assert all(content in full for content in part) and len(part) < len(full) + 1
        file.write_bytes(whole)
    assert full == [content for _, _, content in said(read_transcript(path))]


def test_a_database_that_is_broken_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """Cut anywhere, filled with noise, or with another schema: OSError or what is there, never another error."""
    session = OpenCodeBuilder()
    session.user("one")
    path = session.write_database(tmp_path)
    whole = path.parent.read_bytes()
    contents = [whole[:size] for size in range(0, len(whole), 509)]
    contents += [os.urandom(8192), b"", whole[:4096] + os.urandom(len(whole) - 4096)]
    for number, content in enumerate(contents):
        broken = tmp_path / str(number) / "opencode.db"
        broken.parent.mkdir()
        broken.write_bytes(content)
        with contextlib.suppress(OSError):
            read_transcript(broken / ID)
        state_of(broken / ID)
        assert find_transcript(ID, TranscriptPlaces(opencode=(broken.parent,))) in (None, broken / ID)


def test_a_database_of_a_hostile_making_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view without an end takes the place of a table."""
    monkeypatch.setattr("gtftd.town.opencode_database._STEPS", 1_000_000)
    path = tmp_path / "opencode.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
        columns = "'d' AS directory, '1' AS version, NULL AS parent_id, NULL AS revert, 1 AS time_updated"
        database.execute(f"CREATE VIEW session AS SELECT n.id, {columns} FROM ({endless}) n")
        database.commit()
    with pytest.raises(OSError, match="cannot be read"):
        read_transcript(path / ID)


def test_a_transcript_is_found_by_its_id_alone(tmp_path: Path) -> None:
    """In the database before the files that it was migrated from; ids that are no ids find nothing."""
    session = OpenCodeBuilder()
    places = TranscriptPlaces(opencode=(tmp_path / "missing", tmp_path))
    file = session.write(tmp_path)
    assert file == find_transcript(ID, places)
    row = session.write_database(tmp_path)
    assert row == find_transcript(ID, places)
    elsewhere = OpenCodeBuilder("ses_elsewhere").write_database(tmp_path / "b", "named.db")
    named = TranscriptPlaces(opencode=(tmp_path,), opencode_database=elsewhere.parent)
    assert elsewhere == find_transcript("ses_elsewhere", named)
    assert [None, None] == [find_transcript(name, places) for name in ("ses_*", "ses_../../x")]


def test_reading_changes_nothing_in_the_database(tmp_path: Path) -> None:
    """We are a guest in a file that another program writes."""
    session = OpenCodeBuilder()
    session.user("one")
    path = session.write_database(tmp_path)
    before = path.parent.read_bytes()
    read_transcript(path)
    assert before == path.parent.read_bytes()
    assert json.loads(json.dumps(session.session))["directory"] == read_transcript(path).cwd
