"""Codex's rollouts: every shape that real files have, and every poison that a hostile one may hold."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from gtftd.town.codex_items import kind_of
from gtftd.town.conversation import Transcript, merge
from gtftd.town.layout import TranscriptPlaces
from gtftd.town.transcript import find_transcript, peek_transcript, program_of, read_transcript, state_of
from tests.support.transcripts import START, TranscriptBuilder
from tests.support.transcripts_codex import ID, RolloutBuilder


def read(rollout: RolloutBuilder, tmp_path: Path) -> Transcript:
    return read_transcript(rollout.write(tmp_path))


def said(transcript: Transcript) -> list[tuple[str, str, str]]:
    """Without the three pieces of context that every session begins with."""
    return [(message.role, message.kind, message.content) for message in merge(transcript.lines)[3:]]


def test_a_whole_session_keeps_its_order_and_its_roles(tmp_path: Path) -> None:
    """What the model said between two answers is one message; reasoning is kept out of it."""
    rollout = RolloutBuilder()
    rollout.user("do gt-abc12")
    rollout.think("the bead first")
    rollout.say("On it.")
    one, two = rollout.call("shell", command=["bash", "-lc", "ls"]), rollout.call("exec_command", cmd="pwd")
    rollout.result(one, "a")
    rollout.result(two, [{"type": "input_text", "text": "b"}, {"type": "input_image", "image_url": "data:"}])
    rollout.say("Done.")
    transcript = read(rollout, tmp_path)
    assert [
        ("user", "turn", "do gt-abc12"),
        ("assistant", "turn", "On it."),
        ("tool", "turn", "a"),
        ("tool", "turn", "b"),
        ("assistant", "turn", "Done."),
    ] == said(transcript)
    answer = merge(transcript.lines)[4]
    assert [(one, "shell", {"command": "ls"}), (two, "exec_command", {"command": "pwd"})] == [
        (call.id, call.name, call.arguments) for call in answer.tool_calls
    ]
    assert [one, two] == [message.tool_call_id for message in merge(transcript.lines) if message.role == "tool"]
    assert {"bookkeeping": 4, "thinking": 1, "image": 1} == dict(transcript.problems)
    assert "the bead first" not in repr(merge(transcript.lines))
    assert "the bead first" in [line.thinking for line in transcript.lines]
    own = [line.message.trainable for line in transcript.lines]
    assert [message.role == "assistant" for message in (line.message for line in transcript.lines)] == own
    assert list(range(len(transcript.lines))) == [line.index for line in transcript.lines]


def test_the_session_says_who_it_is(tmp_path: Path) -> None:
    """Id, model, folder, version, branch and commit come from the header and the turns; a peek agrees."""
    rollout = RolloutBuilder()
    rollout.user("hello")
    rollout.say("hi")
    path = rollout.write(tmp_path)
    transcript, head = read_transcript(path), peek_transcript(path)
    assert ("codex", ID, ("gpt-5.2-codex",), "/home/ada/gt/gastown/crew/max", "0.98.0", "main") == (
        transcript.agent_program, transcript.session_id, transcript.models, transcript.cwd, transcript.version,
        transcript.git_branch,
    )  # fmt: skip
    assert head is not None
    assert (ID, transcript.cwd, START, "0.98.0", "main", "a" * 40) == (
        head.session_id, head.cwd, head.started_at, head.version, head.git_branch, head.git_head,
    )  # fmt: skip


def test_a_second_name_of_the_file_tells_its_program(tmp_path: Path) -> None:
    """In the spool a transcript is named by its session alone."""
    rollout = RolloutBuilder()
    linked = tmp_path / f"{ID}.jsonl"
    linked.hardlink_to(rollout.write(tmp_path))
    claude = TranscriptBuilder()
    claude.user("x")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert ["codex", "claude-code", "claude-code"] == [
        program_of(linked), program_of(claude.write(tmp_path)), program_of(empty),
    ]  # fmt: skip
    assert "codex" == read_transcript(linked).agent_program


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<environment_context>\n<cwd>/x</cwd>", "meta"),
        ("<user_instructions>\nbe brief", "meta"),
        ("# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>", "meta"),
        (" <user_shell_command>ls", "meta"),
        ("<turn_aborted>", "meta"),
        ("<subagent_notification>", "meta"),
        ("<hook_prompt hook_run_id='1'>", "hook"),
        ("Another language model started to solve this problem and produced a summary of its thinking", "compaction"),
        ("<environment_contexts> is a word", "turn"),
        ("Work on gt-abc12: <environment_context> is broken", "turn"),
    ],
)  # fmt: skip
def test_what_the_harness_injects_is_told_apart(text: str, kind: str) -> None:
    """By how it begins, as Codex does; a mention in the middle is a person's."""
    assert kind == kind_of(text)


def test_a_compaction_is_a_line_and_its_history_is_not_repeated(tmp_path: Path) -> None:
    """The summary stays; what replaces the history was said before; what is encrypted is counted."""
    rollout = RolloutBuilder()
    rollout.user("first")
    history = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "first"}]}]
    rollout.add("compacted", message="We did the first thing.", replacement_history=history)
    rollout.add("compacted", message="")
    rollout.item("compaction", encrypted_content="gAAAA")
    rollout.say("second")
    transcript = read(rollout, tmp_path)
    assert [
        ("user", "turn", "first"),
        ("system", "compaction", "We did the first thing."),
        ("system", "compaction", "Conversation compacted"),
        ("assistant", "turn", "second"),
    ] == said(transcript)
    assert 1 == transcript.problems["encrypted"]


SAID_BY_TOOLS = [
    (json.dumps({"output": "no", "metadata": {"exit_code": 2, "duration_seconds": 0.1}}), "no", True),
    (json.dumps({"output": "yes", "metadata": {"exit_code": 0}}), "yes", False),
    (json.dumps({"output": "x", "metadata": 7}), None, False),
    ("Exit code: 1\nWall time: 0.1 seconds\nOutput:\nno", None, True),
    ("Exit code: 0\nWall time: 0.1 seconds\nOutput:\nyes", None, False),
    ("Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 127\nOutput:\nno", None, True),
    ("Wall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n", None, False),
    ("Wall time: 9 seconds\nProcess running with session ID 7\nOutput:\nProcess exited with code 1\n", None, False),
    ("aborted by user after 5.0s", None, True),
    ("we said: Exit code: 1\nWall time: 3", None, False),
    ({"content": "no", "success": False}, "no", True),
    ({"content": "yes", "success": True}, "yes", False),
]


@pytest.mark.parametrize(("output", "content", "is_error"), SAID_BY_TOOLS)
def test_an_error_is_what_says_its_exit_code(output: Any, content: str | None, is_error: bool, tmp_path: Path) -> None:
    """In each way in which Codex has written it; what says none is no error."""
    rollout = RolloutBuilder()
    rollout.result(rollout.call("shell", command=["false"]), output)
    answer = read(rollout, tmp_path).lines[-1].message
    assert (output if content is None else content, is_error) == (answer.content, answer.is_error)


def test_a_script_is_always_under_command(tmp_path: Path) -> None:
    """Of every shell tool; a vector that is no shell's becomes a line that a shell would split the same way."""
    rollout = RolloutBuilder()
    rollout.call("shell", command=["/bin/zsh", "-c", "bd close x && gt done"])
    rollout.call("shell", command=["git", "commit", "-m", "it's"])
    rollout.call("shell_command", command="ls", workdir="/w")
    rollout.call("exec_command", cmd="gt done")
    rollout.item(
        "local_shell_call", call_id="c", status="completed", action={"type": "exec", "command": ["bash", "-lc", "pwd"]}
    )
    rollout.item("custom_tool_call", call_id="d", name="apply_patch", input="*** Begin Patch")
    rollout.call("shell", command=["ls", 7])
    rollout.call("update_plan", plan=[])
    calls = [call for line in read(rollout, tmp_path).lines for call in line.message.tool_calls]
    expected: list[object] = ["bd close x && gt done", """git commit -m 'it'"'"'s'""", "ls", "gt done", "pwd"]
    assert [*expected, None, ["ls", 7], None] == [call.arguments.get("command") for call in calls]
    assert "*** Begin Patch" == calls[5].arguments["input"]


def test_what_a_person_took_back_is_left_out(tmp_path: Path) -> None:
    """A rollback drops the last prompts and all that followed; context and nonsense move nothing."""
    rollout = RolloutBuilder()
    rollout.user("one")
    rollout.say("first")
    rollout.user("two")
    rollout.say("second")
    rollout.user("<turn_aborted>")
    rollout.user("three")
    rollout.event("thread_rolled_back", num_turns=2)
    rollout.event("thread_rolled_back", num_turns="many")
    rollout.user("two again")
    transcript = read(rollout, tmp_path)
    assert ["one", "first", "two again"] == [content for _, _, content in said(transcript)]
    assert 4 == transcript.problems["abandoned"]
    assert list(range(len(transcript.lines))) == [line.index for line in transcript.lines]


@pytest.mark.parametrize("meta", [{"source": {"subagent": {"other": "guardian"}}}, {"thread_source": "subagent"}])
def test_a_sub_agent_is_no_session(meta: dict[str, Any], tmp_path: Path) -> None:
    """Its file has no lines, only a count."""
    rollout = RolloutBuilder(**meta)
    rollout.say("inside")
    path = rollout.write(tmp_path)
    assert (None, ()) == (peek_transcript(path), read_transcript(path).lines)
    assert 5 == read_transcript(path).problems["sidechain"]


def test_what_is_no_conversation_is_counted(tmp_path: Path) -> None:
    """Headers of ancestors, other agents' words, the server's tools, and the unknown leave a number behind."""
    rollout = RolloutBuilder()
    rollout.add("session_meta", id="0199a213-0000-7800-8aa1-bbab2a035a53", cwd="/elsewhere")
    rollout.item("web_search_call", status="completed", action={"type": "search"})
    rollout.item("ghost_snapshot", ghost_commit={})
    rollout.item("hologram", data=1)
    rollout.item("message", role="robot", content=[])
    rollout.item("agent_message", content="x")
    rollout.add("inter_agent_communication", content="x")
    rollout.add("hologram", data=1)
    rollout.item("message", role="user", content=[{"type": "smell"}, 7])
    rollout.item("function_call", name="shell", call_id="c", arguments="{half")
    transcript = read(rollout, tmp_path)
    expected = {
        "bookkeeping": 2, "foreign_meta": 1, "server_tool": 1, "unknown_type": 3, "sidechain": 2, "unknown_block": 2,
        "bad_input": 1,
    }  # fmt: skip
    assert expected == dict(transcript.problems)
    assert "/home/ada/gt/gastown/crew/max" == transcript.cwd


@pytest.mark.parametrize(
    ("poison", "counted"),
    [
        (b'{"type":"response_item","payload":{"ty\n', "not_json"),
        (b"[1,2]\n", "not_object"),
        (b'{"type":"response_item","payload":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", "too_deep"),
        (b'{"type":"response_item","payload":7}\n', "unknown_type"),
        (b'{"type":["x"],"payload":{}}\n', "unknown_type"),
        (b'{"type":"response_item","payload":{"type":{}}}\n', "unknown_type"),
        (b'{"type":"response_item","payload":{"type":"message","role":"user","content":"\xff"}}\n', "bad_utf8"),
        (b'{"type":"compacted","payload":{"message":"' + b"x" * 70_000 + b'"}}\n', "too_long"),
        (b'{"type":"response_item","payload":{"type":"function_call","arguments":"' + b"[" * 9 + b'"}}\n', "bad_input"),
        (b'{"type":"response_item","payload":{"type":"function_call_output","output":7}}\n', "unknown_block"),
        (b'{"type":"session_meta","payload":{"id":7,"cwd":[]}}\n', "foreign_meta"),
    ],
)  # fmt: skip
def test_poison_is_counted_and_hurts_no_neighbour(poison: bytes, counted: str, tmp_path: Path) -> None:
    """Whatever one line holds, the lines before and after it are read."""
    rollout = RolloutBuilder()
    rollout.user("before")
    rollout.user("after")
    path, lines = rollout.write(tmp_path), rollout.encode().splitlines(keepends=True)
    path.write_bytes(b"".join((*lines[:-2], poison, *lines[-2:])))
    transcript = read_transcript(path, max_line_bytes=65_536)
    contents = [line.message.content for line in transcript.lines]
    assert ("before", "after") == (contents[3], contents[-1])
    assert 1 == transcript.problems[counted]


def test_a_line_of_64_mib_is_never_held(tmp_path: Path) -> None:
    """The long line is skipped in pieces: memory stays far below its size."""
    rollout = RolloutBuilder()
    rollout.user("before")
    path = rollout.write(tmp_path)
    with path.open("ab") as file:
        for _ in range(64):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n")
    tracemalloc.start()
    transcript = read_transcript(path, max_line_bytes=1024 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 == transcript.problems["too_long"]
    assert peak < 8 * 1024 * 1024


def test_a_file_that_is_being_written_ends_anywhere(tmp_path: Path) -> None:
    """Cut at every byte, all whole lines are read, and reading more only adds."""
    rollout = RolloutBuilder(base_instructions=None, git=None)
    del rollout.lines[1:3]
    rollout.user("one")
    rollout.exec("bd close gt-a", "no", 1)
    path, whole = rollout.write(tmp_path), rollout.encode()
    full = read_transcript(path).lines
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        part = read_transcript(path)
        assert full[: len(part.lines)] == part.lines
        assert part.problems.get("half_line", 0) <= 1
        if size % 16 == 0:
            peek_transcript(path)


def test_a_transcript_is_found_by_its_id_alone(tmp_path: Path) -> None:
    """Live or archived; ids that are no ids find nothing."""
    rollout = RolloutBuilder()
    path = rollout.write(tmp_path)
    places = TranscriptPlaces(codex=(tmp_path / "missing", tmp_path))
    assert path == find_transcript(ID, places)
    archived = tmp_path / "archived_sessions" / path.name
    archived.parent.mkdir()
    path.rename(archived)
    assert archived == find_transcript(ID, places)
    assert [None, None] == [find_transcript(name, places) for name in ("*", "0" * 36)]
    assert state_of(archived) is not None
