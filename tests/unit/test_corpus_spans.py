"""A session cut to a bead: by the command that ended the work, whatever is written to the transcript later."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.commands import Closing, closings, split_commands
from gtftd.corpus.spans import Work, closing_calls, cut, mentions, rest, take
from gtftd.town.conversation import Line, RawCall, RawMessage
from gtftd.town.transcript import read_transcript
from tests.support.transcripts import START, TranscriptBuilder, text, tool_use


def at(step: int) -> datetime:
    """The time of the step-th line (0-based), as Dolt keeps it."""
    return (START + timedelta(seconds=5 * step)).replace(microsecond=0)


def lines_of(session: TranscriptBuilder, tmp_path: Path) -> tuple[Line, ...]:
    return read_transcript(session.write(tmp_path)).lines


def two_beads(tmp_path: Path) -> tuple[Line, ...]:
    """0 prime, 1 prompt a, 2-3 work, 4-5 done, 6 prompt b, 7-8 work, 9-10 done, 11 idle."""
    session = TranscriptBuilder()
    session.hook("prime")
    session.user("work on gt-aaa")
    session.bash("make test")
    session.bash("git push && gt done")
    session.user("work on gt-bbb")
    session.bash("make lint")
    session.bash("gt done --status COMPLETED")
    session.say("Idle.")
    return lines_of(session, tmp_path)


A = Work("gt-aaa", assigned_at=at(0) - timedelta(hours=1), released_at=at(4) + timedelta(seconds=1))
B = Work("gt-bbb", assigned_at=at(6), released_at=at(9))


def test_a_session_with_two_beads_gives_two_spans(tmp_path: Path) -> None:
    """Each ends with its own `gt done`, without the result; the second begins with its assignment."""
    lines = two_beads(tmp_path)
    first, second = cut(lines, A, other_beads=[B]), cut(lines, B, other_beads=[A])
    assert first is not None and second is not None
    assert (0, 4, True) == (first.first_index, first.last_index, first.settled)
    assert (6, 9, True) == (second.first_index, second.last_index, second.settled)
    assert "from the session's start; to its gt done" == first.cut


def test_a_bead_merged_hours_later_still_ends_at_its_done(tmp_path: Path) -> None:
    """The refinery closes A while B is on the hook: B's `gt done` is not A's, and closing is not working."""
    lines = two_beads(tmp_path)
    merged = Work("gt-aaa", assigned_at=A.assigned_at, closed_at=at(11) + timedelta(hours=2))
    span = cut(lines, merged, other_beads=[B])
    assert span is not None and (0, 4) == (span.first_index, span.last_index)


def test_without_an_assignment_the_first_mention_begins_it(tmp_path: Path) -> None:
    """After the last bare `gt done`; tool output that lists every bead is no mention."""
    lines = two_beads(tmp_path)
    span = cut(lines, Work("gt-bbb", released_at=at(9)))
    assert span is not None and (6, 9) == (span.first_index, span.last_index)
    assert cut(lines, Work("gt-zzz", closed_at=at(9))) is None


def test_the_same_bead_twice_gives_two_spans(tmp_path: Path) -> None:
    """Closed, reopened, worked on and closed again in one session: each episode its own stretch."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")  # 0
    session.bash("bd close gt-aaa")  # 1-2
    session.user("gt-aaa is back")  # 3
    session.bash("make test")  # 4-5
    session.bash("bd close gt-aaa -r 'now really'")  # 6-7
    lines = lines_of(session, tmp_path)
    one = Work("gt-aaa", assigned_at=at(0), closed_at=at(1) + timedelta(seconds=1), closed_by_this_actor=True)
    two = Work("gt-aaa", assigned_at=at(3), closed_at=at(6), closed_by_this_actor=True)
    spans = [cut(lines, one, other_beads=[two]), cut(lines, two, other_beads=[one])]
    assert [(0, 1), (3, 6)] == [(span.first_index, span.last_index) for span in spans if span]


def test_an_unsettled_close_asks_to_wait(tmp_path: Path) -> None:
    """Closed by this session, but the line with the call is not on disk yet; with it, it is settled."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")
    session.bash("make")
    work = Work("gt-aaa", assigned_at=at(0), closed_at=at(3), closed_by_this_actor=True)
    early = cut(lines_of(session, tmp_path), work)
    session.bash("bd close gt-aaa")
    late = cut(lines_of(session, tmp_path), work)
    assert early is not None and late is not None
    assert (2, False) == (early.last_index, early.settled)
    assert (3, True) == (late.last_index, late.settled)


def test_closed_by_somebody_else_it_ends_with_the_time(tmp_path: Path) -> None:
    """The mayor closes it from outside: lines up to that second belong to it, and there is nothing to wait for."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")
    session.bash("make")
    session.say("hmm")
    lines = lines_of(session, tmp_path)
    span = cut(lines, Work("gt-aaa", assigned_at=at(0), closed_at=at(2)))
    assert span is not None and (0, 2, True) == (span.first_index, span.last_index, span.settled)
    assert cut(lines, Work("gt-aaa", closed_at=at(0) - timedelta(days=1))) is None


def test_a_call_that_failed_is_no_end(tmp_path: Path) -> None:
    """`gt done` refused for a dirty tree; but a failed chain whose close went through is one."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")
    session.bash("gt done", "uncommitted changes", is_error=True)  # 1-2
    session.bash("git commit -am x")  # 3-4
    session.bash("bd close gt-aaa && git push", "rejected", is_error=True)  # 5-6
    session.say("the push failed")
    lines = lines_of(session, tmp_path)
    span = cut(lines, Work("gt-aaa", assigned_at=at(0), closed_at=at(5) + timedelta(seconds=2)))
    assert span is not None and 5 == span.last_index
    later = cut(lines, Work("gt-aaa", assigned_at=at(0), closed_at=at(60)))
    assert later is not None and 7 == later.last_index


def test_one_command_may_close_several(tmp_path: Path) -> None:
    """Every bead of the list ends there."""
    session = TranscriptBuilder()
    session.user("clean up gt-a1 and gt-b2")
    session.bash('cd rig && bd close gt-a1 gt-b2 --reason="Stale: see gt-c3"')
    lines = lines_of(session, tmp_path)
    assert [(1, "gt-a1"), (1, "gt-b2")] == [(ended.index, ended.bead) for ended in closing_calls(lines)]
    for bead in ("gt-a1", "gt-b2"):
        span = cut(lines, Work(bead, closed_at=at(1), closed_by_this_actor=True))
        assert span is not None and (0, 1) == (span.first_index, span.last_index)


def test_closing_another_bead_does_not_end_this_one(tmp_path: Path) -> None:
    """Steps and side issues are closed on the way; only beads known to be work of this session bound it."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")
    session.bash("bd close gt-wisp-1x")
    session.bash("bd close gt-aaa")
    lines = lines_of(session, tmp_path)
    span = cut(lines, Work("gt-aaa", assigned_at=at(0), closed_at=at(3), closed_by_this_actor=True))
    assert span is not None and (0, 3) == (span.first_index, span.last_index)


def test_the_rest_is_what_no_span_covers(tmp_path: Path) -> None:
    """Idle talk after the last bead; results of the closing calls are not work of their own."""
    lines = two_beads(tmp_path)
    spans = [span for span in (cut(lines, A, other_beads=[B]), cut(lines, B, other_beads=[A])) if span]
    assert [(11, 11)] == [(span.first_index, span.last_index) for span in rest(lines, spans)]
    assert [(0, 11)] == [(span.first_index, span.last_index) for span in rest(lines, [])]


def test_taking_a_span_leaves_no_orphans(tmp_path: Path) -> None:
    """Pieces become messages, counts come along, and a result without its call is left out."""
    session = TranscriptBuilder()
    session.user("fix gt-aaa")
    session.assistant(text("I look."), id="m1")
    session.assistant(tool_use("toolu_1", command="ls"), id="m1")
    session.add("progress")
    session.result("toolu_1")
    session.call("Bash", command="bd close gt-aaa")
    lines = lines_of(session, tmp_path)
    span = cut(lines, Work("gt-aaa", closed_at=at(5), closed_by_this_actor=True))
    assert span is not None
    taken = take(lines, span)
    assert ["user", "assistant", "tool", "assistant"] == [message.role for message in taken.messages]
    assert ("I look.", 1) == (taken.messages[1].content, len(taken.messages[1].tool_calls))
    assert ({"bookkeeping": 1}, "claude-opus-4-6", START) == (dict(taken.dropped), taken.model, taken.started_at)
    orphan = take(lines, type(span)(3, 4, "by hand"))
    assert {"bookkeeping": 1, "orphan_result": 1} == dict(orphan.dropped)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("bd close gt-a", [("gt-a", "close")]),
        (
            "cd /x && FOO=1 timeout 60s /usr/bin/bd --db y close gt-a.1 hq-b2 -r gt-no",
            [("gt-a.1", "close"), ("hq-b2", "close")],
        ),
        ("bd update gt-a --status closed", [("gt-a", "close")]),
        ("bd update gt-a --status=closed --notes 'x'", [("gt-a", "close")]),
        ("bd update gt-a --status open", []),
        ("bd show gt-a; echo 'bd close gt-a'", []),
        ("gt done --issue gt-a --status=DEFERRED", [("gt-a", "done")]),
        ("git push\ngt done | tee log", [(None, "done")]),
        ("gt handoff -s 'bd close gt-x'", [(None, "handoff")]),
        ("gt unsling gt-a", [("gt-a", "unhook")]),
        ("bd close --help; gt done -h", []),
        ("cat <<'EOF' > f\nbd close gt-no\nEOF\nbd close gt-a", [("gt-a", "close")]),
        ("# bd close gt-no\nbd close gt-a # gt-no", [("gt-a", "close")]),
        ('bash -lc "cd x; bd close gt-a"', [("gt-a", "close")]),
        ("for i in 1; do bd close gt-a; done", [("gt-a", "close")]),
        ("bd close 'gt-a", [("gt-a", "close")]),
        ('bd close gt-a --reason "it\'s open', [("gt-a", "close")]),
        ("", []),
    ],
)  # fmt: skip
def test_commands_that_end_work(command: str, expected: list[tuple[str | None, str]]) -> None:
    """Chains, prefixes, flags, here-documents, comments, shells in shells, broken quotes."""
    assert expected == [(closing.bead, closing.kind) for closing in closings(command)]


@given(st.text(alphabet="bd close gt-a1;&|'\"\\$()`#<E\n=-", max_size=200))
@settings(deadline=None)
def test_no_shell_text_is_too_broken(command: str) -> None:
    """Whatever an agent typed, it is read without an error, and every word comes from it."""
    for words in split_commands(command):
        assert all(isinstance(word, str) for word in words) and words
    assert all(isinstance(closing, Closing) for closing in closings(command))


def test_a_mention_is_the_whole_id() -> None:
    """`gt-abc` is not mentioned by its child, by a longer id, or by tool output."""

    def prompt(content: str) -> Line:
        return Line(0, RawMessage("user", content))

    assert mentions(prompt("do gt-abc."), "gt-abc") and mentions(prompt("(gt-abc)"), "gt-abc")
    assert not any(mentions(prompt(said), "gt-abc") for said in ("gt-abc.1", "gt-abcd", "x-gt-abc", "gt-abc-2"))
    assert not mentions(Line(0, RawMessage("tool", "gt-abc", tool_call_id="t")), "gt-abc")
    nested: dict[str, object] = {"x": [{"y": "on gt-abc"}]}
    assert mentions(Line(0, RawMessage("assistant", tool_calls=(RawCall("t", "Bash", nested),))), "gt-abc")


STEPS = st.sampled_from(["talk", "work", "close a", "close b", "done", "fail a", "prompt a", "prompt b", "quiet"])


def played(steps: list[str]) -> tuple[Line, ...]:
    """A session of these steps, three seconds apart, as lines."""
    lines: list[Line] = []

    def add(message: RawMessage) -> None:
        lines.append(Line(len(lines), message))

    for number, step in enumerate(steps):
        now = START + timedelta(seconds=3 * number)
        verb, _, bead = step.partition(" ")
        if verb in ("talk", "quiet"):
            add(RawMessage("assistant", "hm", trainable=True, at=now if verb == "talk" else None))
        elif verb == "prompt":
            add(RawMessage("user", f"do gt-{bead}", at=now))
        else:
            command = {"work": "make", "done": "gt done"}.get(verb, f"bd close gt-{bead}")
            call = RawCall(f"toolu_{number}", "Bash", {"command": command})
            add(RawMessage("assistant", tool_calls=(call,), trainable=True, at=now))
            add(RawMessage("tool", "", tool_call_id=call.id, is_error=verb == "fail", at=now + timedelta(seconds=1)))
    return tuple(lines)


@given(
    st.lists(STEPS, min_size=1, max_size=14),
    st.lists(STEPS, max_size=6),
    st.integers(0, 45),
    st.integers(0, 45),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_a_settled_span_never_changes(steps: list[str], later: list[str], assigned: int, ended: int, own: bool) -> None:
    """The same evidence gives the same span, however much the session says afterwards."""
    lines = played(steps)
    last = 3 * (len(steps) - 1)  # what came later had not happened when the beads were let go of
    ended = min(ended, last)
    work = Work(
        "gt-a",
        START + timedelta(seconds=assigned),
        closed_at=START + timedelta(seconds=ended),
        closed_by_this_actor=own,
    )
    begun, released = min(assigned + 5, last), min(assigned + 11, last)
    others = [Work("gt-b", START + timedelta(seconds=begun), START + timedelta(seconds=released))]
    before = cut(lines, work, other_beads=others)
    longer = played([*steps, *later])
    assert longer[: len(lines)] == lines
    if before is not None and before.settled:
        assert before == cut(longer, work, other_beads=others)
        assert 0 <= before.first_index <= before.last_index < len(lines)
        assert lines[before.last_index].message.role != "tool" or "time" in before.cut


@given(st.lists(STEPS, max_size=20), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4))
@settings(deadline=None)
def test_rest_and_spans_do_not_overlap(steps: list[str], drawn: list[tuple[int, int]]) -> None:
    """Every line is in at most one of them, and no stretch of rest is without the agent's own words."""
    from gtftd.corpus.spans import Span

    lines = played(steps)
    spans = [Span(min(a, b), max(a, b), "drawn") for a, b in drawn if max(a, b) < len(lines)]
    covered = {index for span in spans for index in range(span.first_index, span.last_index + 1)}
    for gap in rest(lines, spans):
        inside = range(gap.first_index, gap.last_index + 1)
        assert covered.isdisjoint(inside) and any(lines[index].message.trainable for index in inside)


def test_a_session_without_lines_has_no_spans() -> None:
    """Nothing in, nothing out."""
    assert cut((), A) is None and () == rest((), []) and [] == closing_calls(())
