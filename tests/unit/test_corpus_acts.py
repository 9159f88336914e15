"""What an agent did, as its tool calls tell."""

from __future__ import annotations

import pytest

from gtftd.corpus.acts import runs_of
from gtftd.ctl.page import call_text
from gtftd.schemas.corpus import ToolCall
from gtftd.town.conversation import SHELL_TOOLS, RawCall


@pytest.mark.parametrize("name", sorted(SHELL_TOOLS))
def test_a_shell_is_a_shell_under_every_name(name: str) -> None:
    """Whatever the agent's program calls it, its programs are read, and shown as a command."""
    assert ["bd"] == [run.name for run in runs_of(RawCall("c1", name, {"command": "bd close hb-1"}))]
    assert call_text(ToolCall(id="c1", name=name, arguments={"command": "bd close hb-1"}), full=False) == (
        "$ bd close hb-1"
    )


def test_a_tool_that_is_no_shell_runs_nothing() -> None:
    assert runs_of(RawCall("c1", "Read", {"command": "bd close hb-1"})) == ()
