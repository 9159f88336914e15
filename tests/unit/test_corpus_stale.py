"""Commands left behind by the conventions: named in instructions, retired by a change, run by an agent."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.stale import REMOVED, StaleUse, commands_named, retired, stale_uses
from tests.support.spans import SpanBuilder

MAY = datetime(2026, 5, 1, tzinfo=UTC)
GASTOWN = Path(os.environ.get("GTFTD_SHARED_DATA", Path(__file__).parents[3] / "shared/data")) / "gastown/files"

AGENTS = """# Agents

```bash
bd list --status=open # All open issues
bd dep add <a> <b>    # a depends on b
bd sync               # Sync with git
git commit -m "bd close"
```

5. **Sync**: `bd sync` at session end, then `gt done`.
| Close | `bd close <id>` | ~~bd complete~~ (not a command), ~~`bd update --status done`~~ |
Never use `gt mail send` here. Run `gt nudge x` and not... see `bv`.
The `gt` tool is good. gt is the tool that starts agents.
There is NO `gt polecat spawn` command.

    $ gt mq post-merge <rig> <mr>
gt mq integration land <epic>
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run `bd sync`", {"bd sync"}),
        ("```\nbd dep add a b\n```", {"bd dep add"}),
        ("```bash\ngit add . && bd sync && git push\n```", {"bd sync"}),
        ("gt mq post-merge x y", {"gt mq post-merge"}),
        ("$ gt mq integration land x", {"gt mq integration land"}),
        ("`{{ cmd }} done`", {"gt done"}),
        ("`gt escalate -s HIGH \"x\"`", {"gt escalate"}),
        ("`BD_DEBUG=1 bd show x`", {"bd show"}),
        ("`bd update <id> --status=done`", {"bd update", "bd update --status done"}),
        ("description = \"\"\"\n```bash\nbd sync\n```\n\"\"\"", {"bd sync"}),
        ("bd sync is gone", set()),
        ("we like bd sync", set()),
        ("`git bd sync`", set()),
        ("~~bd sync~~ and ~~`gt done`~~", set()),
        ("Do NOT run `bd sync`", set()),
        ("bd sync  # removed, do not run", set()),
        ("```\n# bd sync\necho bd sync\n```", set()),
        ("`bd`, `gt`, `bd --help`", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_commands_named(text: str, expected: set[str]) -> None:
    """Code blocks, code spans and shell lines tell what to run; prose and what is struck out do not."""
    assert expected == commands_named(text)


def test_a_whole_instruction_file() -> None:
    """As the real ones are written."""
    assert {
        "bd list", "bd dep add", "bd sync", "gt done", "bd close", "gt nudge", "gt mq post-merge",
        "gt mq integration land",
    } == commands_named(AGENTS)  # fmt: skip


@pytest.mark.skipif(not GASTOWN.is_dir(), reason="the real texts are not here")
def test_the_real_texts_that_still_tell_to_run_what_is_gone() -> None:
    """Every instruction text that names bd sync outside a comment is found, and the template with gt mq close."""
    naming = {
        str(path.relative_to(GASTOWN)): found
        for path in GASTOWN.rglob("*")
        if path.is_file() and (found := commands_named(path.read_text(errors="replace")) & REMOVED.keys())
    }
    formulas = "internal/formula/formulas"
    expected = {
        "AGENTS.md", "docs/design/property-layers.md", f"{formulas}/mol-polecat-code-review.formula.toml",
        f"{formulas}/mol-polecat-review-pr.formula.toml", f"{formulas}/mol-digest-generate.formula.toml",
        f"{formulas}/mol-sync-workspace.formula.toml", f"{formulas}/mol-convoy-cleanup.formula.toml",
        f"{formulas}/mol-polecat-conflict-resolve.formula.toml", f"{formulas}/mol-town-shutdown.formula.toml",
    }  # fmt: skip
    assert expected == {path for path, found in naming.items() if "bd sync" in found}
    closing = [path for path, found in naming.items() if "gt mq close" in found]
    assert ["internal/templates/roles/refinery.md.tmpl"] == closing
    wrong = {"bd complete", "gt issue create", "gt polecat spawn", "gt polecat kill"}
    assert not any(found & wrong for found in naming.values())


def test_retired_by_a_change() -> None:
    """Gone from this text and named in no other; a new text and a deleted one."""
    assert {"bd sync"} == retired("`bd sync` `gt done`", "`gt done`", [])
    assert set() == retired("`bd sync`", "", ["run `bd sync`"])
    assert {"bd sync"} == retired("`bd sync`", None, ["Never run `bd sync`"])
    assert set() == retired(None, "`bd sync`", [])
    assert {"gt mq close"} == retired("`gt mq close x`", "`gt mq reject x`", ["`gt mq list`"])


def test_stale_uses() -> None:
    """A removed or retired command that was run; not one that was printed, asked about, or of another tool."""
    span = SpanBuilder().user("bd sync").bash("git add . && bd sync --status").bash("gt mq close gt-mr-1")  # 1, 3
    span.bash("bd update gt-a --status completed").bash("bd old thing").bash("bd dep remove a b")  # 5, 7, 9
    span.bash("echo bd sync").bash("bd sync --help").bash("bd repo sync").bash("bd dep add a b").say("bd sync")
    uses = stale_uses(span.messages, {"bd old": MAY, "bd dep remove": MAY})
    assert [
        (1, "bd sync", None), (3, "gt mq close", None), (5, "bd update --status complete", None), (7, "bd old", MAY),
        (9, "bd dep remove", MAY),
    ] == [(use.message, use.command, use.since) for use in uses]  # fmt: skip
    assert all(use.replacement for use in uses)
    dated = stale_uses(SpanBuilder().bash("bd sync").messages, {"bd sync": MAY})
    assert (StaleUse(0, "bd sync", MAY, REMOVED["bd sync"].replacement),) == dated
    assert () == stale_uses(SpanBuilder().bash("gt done").messages, {})


def test_every_removed_command_is_told_with_its_source() -> None:
    """Which command, what instead, where it is written."""
    for name, entry in REMOVED.items():
        assert name == entry.command and entry.replacement and entry.source and name.startswith(("bd ", "gt "))


@given(st.text(alphabet="`~bdgt sync#\n|$<>{}()'\"\\-", max_size=300))
@settings(deadline=None)
def test_no_instruction_text_is_too_broken(text: str) -> None:
    """Whatever somebody wrote into a CLAUDE.md: heads of commands come out, nothing is raised."""
    assert all(head.split()[0] in ("bd", "gt") for head in commands_named(text))


@pytest.mark.parametrize("bit", ["`", "~~", "```\n", "`bd x` ", "bd a ", "{{", "$(", "\n", "| `"])
def test_hostile_instruction_texts_end(bit: str) -> None:
    """Two hundred kilobytes of one token."""
    assert isinstance(commands_named(bit * (200_000 // len(bit))), frozenset)
