"""A training entry as a page, drawn into memory."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gtftd.ctl.page import call_text, draw, example_name, fact_text, span
from gtftd.schemas.corpus import Conventions, Entry, Fact, Message, Outcome, ToolCall

START = datetime(2026, 11, 21, 22, 27, 9, 123456, tzinfo=UTC)
CALLS = (
    ToolCall(id="1", name="Bash", arguments={"command": "bd close ln-1", "description": "Close it"}),
    ToolCall(id="2", name="Grep", arguments={"pattern": "def dash", "path": "/a", "-n": True}),
)
ENTRY = Entry(
    entry_id="0f" * 18,
    role="polecat",
    rig="lantern",
    bead="ln-1",
    database="lantern",
    episode=2,
    session_id="1e0932a1-9d7f-49f9-bab8-3a05ce4ba15a",
    run_id="run-7",
    actor="lantern/polecats/capable",
    title="Unknown runes",
    cwd="/home/a",
    git_head="750e882f",
    source="claude-code",
    started_at=START,
    ended_at=START.replace(second=11),
    cut="to its gt done",
    outcome=Outcome(
        label="merged", confidence=0.95, evidence=(Fact(kind="merged", detail="Merged in mr-1", at=START),)
    ),
    conventions=Conventions(instructions="ab" * 32, gt_version="0.9.1"),
    messages=(
        Message(role="user", content="Begin."),
        Message(role="assistant", content="word " * 40, tool_calls=CALLS, trainable=True),
        Message(role="tool", content="closed\n\x1b[2J[red]evil", tool_call_id="1", is_error=True),
        Message(role="tool", content="x" * 2100, tool_call_id="2"),
    ),
    redactions={"HOME": 2},
    dropped={"image": 1},
    scrubber="1-abc",
)


def page(*, width: int = 80, terminal: bool = True, full: bool = False, entry: Entry = ENTRY) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, highlight=False)
    for part in draw(entry, Path("/state/entries/objects/ab.json"), console, full=full):
        console.print(part, soft_wrap=not terminal)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_it_says_whose_work_it_was_and_what_became_of_it() -> None:
    """Everything that the entry knows; the episode where there was more than one."""
    lines = page()
    assert lines[:2] == ["ln-1#2  Unknown runes", "lantern/polecats/capable  merged"]
    facts = {line[:10].strip(): line[10:].strip() for line in lines[3:21]}
    assert facts["entry"] == ENTRY.entry_id
    assert facts["outcome"] == "merged (0.95)"
    assert facts["because"] == "merged: Merged in mr-1, 2026-11-21 22:27:09 UTC"
    assert facts["in force"] == f"instructions {'ab' * 6}, gt 0.9.1"
    assert facts["bead"] == "ln-1, episode 2, database lantern"
    assert facts["run"] == "run-7"
    assert facts["span"] == "2026-11-21 22:27:09 to 22:27:11 UTC; to its gt done"
    assert (facts["cwd"], facts["git head"]) == ("/home/a", "750e882f")
    assert (facts["redacted"], facts["dropped"]) == ("HOME 2; scrubber 1-abc", "image 1")
    assert facts["messages"] == "4; ┃ marks 1 to train on"


def test_a_session_without_a_bead_leaves_no_gaps() -> None:
    alone = ENTRY.model_copy(update={"bead": None, "episode": 1, "actor": None, "title": "", "run_id": None})
    lines = page(entry=alone)
    assert lines[:2] == ["session 1e0932a1", "lantern/polecat  merged"]
    assert not [line for line in lines if line.startswith("run")]


def test_a_bar_marks_what_is_trained_on() -> None:
    """On every line of it, broken ones too, and on nothing else."""
    for width in (80, 120):
        lines = page(width=width)
        assert max(map(len, lines)) <= width
        messages = lines[lines.index("  user") :]
        own = [line for line in messages if line.startswith("┃ ")]
        assert own[0] == "┃ assistant"
        assert own[-2:] == ["┃ $ bd close ln-1", '┃ Grep pattern="def dash" path=/a -n=true']
        assert all(line.startswith(("┃ ", "  ")) for line in messages if line)
        assert len(own) == {80: 6, 120: 5}[width]


def test_what_is_not_learned_says_why() -> None:
    """A broken bar before the turn, the reason and the conventions that it broke beside it; the sums above."""
    turn = Message(role="assistant", content="Again.", masked="stale", violations=("bd-sync",), task="triage")
    lines = page(entry=ENTRY.model_copy(update={"messages": (*ENTRY.messages, turn)}))
    assert "┆ assistant  triage  not trained on: stale  broke bd-sync" in lines
    assert "┆ Again." in lines
    assert "messages    5; ┃ marks 1 to train on; ┆ marks what is not: stale 1" in lines
    assert "violations  bd-sync 1" in lines


def test_text_of_an_entry_cannot_drive_the_terminal() -> None:
    """Neither by escape sequences nor by rich markup; and a result names its tool."""
    lines = page()
    assert "\x1b" not in "".join(lines)
    assert "   [2J[red]evil" in lines
    assert "  tool  Bash  error" in lines


def test_long_messages_are_shortened_unless_asked_for() -> None:
    assert any("100 more characters, see --full" in line for line in page(terminal=False))
    assert "  " + "x" * 2100 in page(terminal=False, full=True)


def test_a_pipe_gets_whole_lines() -> None:
    assert "┃ " + ("word " * 40).rstrip() in page(terminal=False)


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (START.replace(second=11), "2026-11-21 22:27:09 to 22:27:11 UTC"),
        (START.replace(day=22), "2026-11-21 22:27:09 to 2026-11-22 22:27:09 UTC"),
        (None, "2026-11-21 22:27:09 UTC"),
    ],
)
def test_spans_are_in_utc(end: datetime | None, wanted: str) -> None:
    """The day is said once when it is one."""
    assert span(START, end) == wanted


def test_calls_are_said_shortly() -> None:
    """A shell's as its command; others with their arguments, long ones without their middle."""
    assert call_text(ToolCall(id="", name="Bash", arguments={"command": "a\nb"}), full=False) == "$ a\n  b"
    long = ToolCall(id="", name="Edit", arguments={"old": "a" * 40 + "b" * 40, "all": False, "n": None, "to": ""})
    assert call_text(long, full=False) == f'Edit old={"a" * 20}…{"b" * 40} all=false n=null to=""'
    assert call_text(long, full=True) == f'Edit old={"a" * 40}{"b" * 40} all=false n=null to=""'


@pytest.mark.parametrize(
    ("fact", "wanted"),
    [
        (
            Fact(kind="exit_type", detail="COMPLETED", at=START),
            "exit type: COMPLETED, as recorded, 2026-11-21 22:27:09 UTC",
        ),
        (Fact(kind="exit_type", detail="COMPLETED said"), "exit type: COMPLETED, in the agent's own words"),
        (
            Fact(kind="close_reason", detail="merged_request by who decides"),
            "close reason: merged request, given by the agent that decides on the merge",
        ),
        (Fact(kind="close_reason", detail="bare by the refinery"), "close reason: bare, given by the refinery"),
        (Fact(kind="said", detail="Merged."), "Merged."),
    ],
)
def test_facts_are_said_for_a_reader(fact: Fact, wanted: str) -> None:
    """Who closed it and who told of an exit, in words that need no key."""
    assert wanted == fact_text(fact)


def test_an_example_is_called_by_what_stands_in_it() -> None:
    """Its title, else how it begins; never a sum."""
    example = ENTRY.model_copy(update={"kind": "curated", "title": ""})
    assert "Begin." == example_name(example)
    assert "Unknown runes" == example_name(ENTRY)
    long = example.model_copy(update={"messages": (Message(role="user", content="\n" + "word " * 40),)})
    assert (60, "word word") == (len(example_name(long)), example_name(long)[:9])
