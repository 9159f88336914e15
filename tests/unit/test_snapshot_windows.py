"""Windows: every turn that may be learned is a target once, and what is shown hangs together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.snapshot import estimate_tokens, windows
from gtftd.corpus.snapshot.windows import supervised_chars
from gtftd.schemas.corpus import Message, ToolCall
from tests.support.snapshots import act, answer, ask, say


@st.composite
def transcripts(draw: st.DrawFn) -> list[Message]:
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(
            Message(role="system", content="# Rules\nRead them.\n" + say("rules", draw(st.integers(1, 300))))
        )
    for number in range(draw(st.integers(0, 12))):
        text = say(number, draw(st.integers(0, 60))) if draw(st.booleans()) else "<HOME:a1b2>"
        calls = tuple(
            ToolCall(id=f"c{number}.{place}", name="Bash", arguments={"command": say((number, place), 4)})
            for place in range(draw(st.integers(0, 2)))
        )
        messages.append(Message(role="assistant", content=text, tool_calls=calls, trainable=draw(st.booleans())))
        late = [call.id for message in messages for call in message.tool_calls]
        for call in calls if draw(st.booleans()) else draw(st.permutations(late))[:2]:
            name = call if isinstance(call, str) else call.id
            messages.append(answer(say(name, draw(st.integers(0, 200))), name))
        if draw(st.booleans()):
            messages.append(ask(say(("ask", number), draw(st.integers(1, 80)))))
    return messages


@settings(deadline=None, max_examples=150)
@given(transcripts(), st.integers(64, 1200))
def test_every_turn_is_a_target_exactly_once(messages: list[Message], budget: int) -> None:
    """In order, and none that is not to be learned or holds nothing but placeholders."""
    wanted = [i for i, message in enumerate(messages) if message.trainable and supervised_chars(message) > 0]
    found = windows(messages, budget, estimate_tokens)
    assert wanted == [target for window in found for target in window.targets]
    assert all(window.targets and set(window.targets) <= set(window.shown) for window in found)


@settings(deadline=None, max_examples=150)
@given(transcripts(), st.integers(64, 1200))
def test_no_answer_is_shown_without_its_call(messages: list[Message], budget: int) -> None:
    """A model that sees an answer to nothing learns to expect answers to nothing."""
    for window in windows(messages, budget, estimate_tokens):
        shown: set[str] = set()
        for index in window.shown:
            if messages[index].role == "tool":
                assert messages[index].tool_call_id in shown
            shown |= {call.id for call in messages[index].tool_calls}


@settings(deadline=None, max_examples=150)
@given(transcripts(), st.integers(64, 1200))
def test_a_window_fits_unless_its_only_target_does_not(messages: list[Message], budget: int) -> None:
    """And the digest takes at most a tenth."""
    for window in windows(messages, budget, estimate_tokens):
        assert estimate_tokens(window.digest) <= budget // 10
        assert window.tokens <= budget or (window.is_oversized and len(window.targets) == 1)


def test_the_digest_keeps_headings_and_first_lines() -> None:
    """What stands below them is left out, from the end when it does not fit."""
    prime = "\n".join(f"# Part {i}\nFirst line {i}.\n{say(i, 100)}" for i in range(4))
    messages = [Message(role="system", content=prime), ask("Begin."), act("I begin.")]
    (window,) = windows(messages, 1000, estimate_tokens)
    expected = "\n".join(f"# Part {i}\nFirst line {i}." for i in range(4))
    assert expected == window.digest
    assert (1, 2) == window.shown


def test_turns_that_conventions_left_behind_are_no_targets() -> None:
    """They are still shown: the turns after them make sense only so."""
    messages = [ask("Begin."), act(command="bd sync"), answer("?"), act("Sorry.")]
    (window,) = windows(messages, 1000, estimate_tokens, stale=[1])
    assert ((3,), (0, 1, 2, 3)) == (window.targets, window.shown)


def test_long_answers_lose_their_middle() -> None:
    """The beginning and the end of an output say the most."""
    messages = [ask("Begin."), act(command="make"), answer("FIRST " + say(1, 3000) + " LAST"), act("It failed.")]
    (window,) = windows(messages, 1000, estimate_tokens)
    clip = window.clipped[2]
    assert clip.startswith("FIRST")
    assert clip.endswith("LAST")
    assert estimate_tokens(clip) <= 250
