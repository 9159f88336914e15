"""Curated examples: chat of every shape and text are taken, and a file with one fault adds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gtftd.errors import GtftdError, Invalid, Missing
from tests.support.documents import SECRET, counts, desk, last, make_town, write, write_lines

OPENAI = {
    "messages": [
        {"role": "system", "content": "You are a polecat."},
        {"role": "user", "content": "Fix it."},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "Bash", "arguments": '{"command": "go test"}'}}
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
        {"role": "assistant", "content": "wrong", "weight": 0},
        {"role": "assistant", "content": "Done."},
    ],
    "role": "polecat", "task": "implementation", "outcome": "merged",
}  # fmt: skip
ANTHROPIC = {
    "system": "You are a witness.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": f"token {SECRET}"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "gt peek"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True,
             "content": [{"type": "text", "text": "no"}]},
            {"type": "text", "text": "Again."},
        ]},
        {"role": "assistant", "content": "All quiet."},
    ],
}  # fmt: skip


async def test_chat_of_both_shapes_becomes_the_same_kind_of_entry(tmp_path: Path) -> None:
    """Tool calls and results, what is trainable, role, task and outcome of the file before those of the order."""
    path = write_lines(tmp_path / "examples.jsonl", [OPENAI, ANTHROPIC])
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        assert (2, 0, 0, 0) == counts(await last(made.documents.add(path, role="witness", task="patrol", rig="harbor")))
        found = {entry.role: entry for entry in (await made.entries("curated")).values()}
        polecat, witness = found["polecat"], found["witness"]
        assert ("merged", "implementation", "harbor") == (polecat.outcome.label, polecat.task, polecat.rig)
        assert ("collected", "patrol", "operator") == (witness.outcome.label, witness.task, witness.source)
        assert [False, False, True, False, False, True] == [message.trainable for message in polecat.messages]
        assert {"command": "go test"} == polecat.messages[2].tool_calls[0].arguments
        assert ["system", "user", "assistant", "tool", "user", "assistant"] == [m.role for m in witness.messages]
        assert ("toolu_1", True) == (witness.messages[3].tool_call_id, witness.messages[3].is_error)
        assert SECRET not in witness.model_dump_json()
        assert all(entry.origin.startswith("curated:") for entry in found.values())


async def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    """The id follows from the content, not from the file; an example that stands twice is one entry."""
    rows = [OPENAI, ANTHROPIC, OPENAI]
    async with desk(tmp_path / "state", make_town(tmp_path / "gt")) as made:
        assert (2, 1, 0, 0) == counts(
            await last(made.documents.add(write_lines(tmp_path / "a.jsonl", rows), role="crew"))
        )
        other = write(tmp_path / "b.json", json.dumps(rows, indent=1))
        assert (0, 3, 0, 0) == counts(await last(made.documents.add(other, role="crew")))


async def test_whose_example_it_is_makes_it_another(tmp_path: Path) -> None:
    """The same words for another role, or of another rig, take nobody's place; the answer names each entry."""
    path = write_lines(tmp_path / "a.jsonl", [ANTHROPIC, ANTHROPIC])
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        told = [
            await last(made.documents.add(path, role=role, rig=rig))
            for role, rig in (("polecat", None), ("witness", None), ("polecat", "harbor"), ("polecat", None))
        ]
        assert [(1, 1, 0, 0)] * 3 + [(0, 2, 0, 0)] == [counts(one) for one in told]
        assert [1, 1, 1, 1] == [len(one.entries) for one in told]
        assert told[0].entries == told[3].entries
        kept = {(entry.role, entry.rig) for entry in (await made.entries("curated")).values()}
        assert {("polecat", None), ("witness", None), ("polecat", "harbor")} == kept


@pytest.mark.parametrize(
    ("role", "rig", "why"),
    [
        ("emperor", None, "'emperor' is no role; there are mayor, deacon"),
        ("crew", "atlantis", "'atlantis' is no rig; there are harbor"),
    ],
)
async def test_an_example_is_of_a_role_and_a_rig_that_there_are(
    tmp_path: Path, role: str, rig: str | None, why: str
) -> None:
    """A typo would lose it for ever."""
    path = write_lines(tmp_path / "a.jsonl", [ANTHROPIC])
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        with pytest.raises(Invalid, match=why):
            await last(made.documents.add(path, role=role, rig=rig))
        with pytest.raises(Invalid, match="no role"):
            await last(made.documents.prime(["emperor"]))
        assert {} == await made.entries("curated")


async def test_texts_are_documents(tmp_path: Path) -> None:
    """Markdown is one document under its title; a bare list of messages is one conversation."""
    text = write(tmp_path / "how-to.md", "# How we land work\n\nRun gt done.\n")
    chat = write(tmp_path / "chat.json", json.dumps(ANTHROPIC["messages"]))
    async with desk(tmp_path / "state", make_town(tmp_path / "gt")) as made:
        await last(made.documents.add(text, role="polecat"))
        await last(made.documents.add(chat, role="crew"))
        found = {entry.role: entry for entry in (await made.entries("curated")).values()}
        assert ("How we land work", "document", False) == (
            found["polecat"].title,
            found["polecat"].task,
            found["polecat"].messages[0].trainable,
        )
        assert ("other", 5) == (found["crew"].task, len(found["crew"].messages))


@pytest.mark.parametrize(
    ("content", "where", "why"),
    [
        (f"{json.dumps(OPENAI)}\nnot json\n", "line 2", "not JSON"),
        (f"\n{json.dumps(OPENAI)}\n" + '{"messages": []}\n', "line 3", "at least one message"),
        ('{"messages": [{"role": "wizard", "content": "x"}]}', "line 1", "'wizard'"),
        ('{"messages": [{"role": "user", "content": 5}]}', "line 1", "must be text"),
        ('{"messages": [{"role": "user", "content": ""}]}', "line 1", "says anything"),
        ('{"role": "emperor", "messages": [{"role": "user", "content": "x"}]}', "line 1", "one of: mayor"),
        ('{"messages": ["hi"]}', "line 1", "message 1 is no object"),
        ('{"messages": [{"role": "user", "content": "x", "trainable": true}]}', "line 1", "only assistant turns"),
        ('{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}', "line 1", "'image'"),
        ('{"messages": [{"role": "user", "content": "x"}], "outcome": "great"}', "line 1", "one of: merged"),
        ('{"messages": [{"role": "user", "content": "x"}], "task": "magic"}', "line 1", "one of: implementation"),
        ('{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "B", "arguments": "{"}}]}]}',
         "line 1", "arguments of B are no JSON"),
        ('{"messages": ' + "[" * 100_000, "line 1", ""),
        ("", "", "holds no example"),
    ],
)  # fmt: skip
async def test_a_file_with_one_fault_adds_nothing(tmp_path: Path, content: str, where: str, why: str) -> None:
    """The message names the line and the fault."""
    path = write(tmp_path / "bad.jsonl", content)
    async with desk(tmp_path / "state", make_town(tmp_path / "gt")) as made:
        with pytest.raises(Invalid) as failed:
            await last(made.documents.add(path, role="crew"))
        told = str(failed.value)
        assert (True, True) == (where in told, why in told), told
        assert (True, where != "") == (told.endswith("; nothing of this file was added"), told.count("line ") == 1), (
            told
        )
        assert {} == await made.entries("curated")


async def test_what_is_no_file_of_text_is_refused(tmp_path: Path) -> None:
    """A folder, a missing file, bytes that are no UTF-8 (with the line)."""
    (tmp_path / "bytes.jsonl").write_bytes(b'{"messages": []}\n\xff\xfe\n')
    async with desk(tmp_path / "state", make_town(tmp_path / "gt")) as made:
        told: list[GtftdError] = []
        for name in ("", "nowhere.jsonl", "bytes.jsonl"):
            with pytest.raises(GtftdError) as failed:
                await last(made.documents.add(tmp_path / name, role="crew"))
            told.append(failed.value)
        assert [Missing, Missing, Invalid] == [type(error) for error in told]
        assert "line 2: not UTF-8" in str(told[2])
