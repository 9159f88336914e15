"""What a line of gt's feed means."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.schemas.event import MAX_EVENT_BYTES, Envelope
from gtftd.schemas.town import BeadAssigned, BeadReleased, GtLogged, SessionEnded, SessionStarted, TownEvent
from gtftd.town.feed import BadLine, parse_line, to_event

AT = datetime(2026, 1, 18, 9, 52, 29, tzinfo=UTC)


def line(kind: str, actor: str = "mayor", **payload: object) -> bytes:
    said = {"ts": "2026-01-18T09:52:29Z", "source": "gt", "type": kind, "actor": actor, "payload": payload}
    return json.dumps(said | {"visibility": "feed"}).encode()


def event(content: bytes) -> TownEvent:
    return to_event(parse_line(content))


@pytest.mark.parametrize(
    ("target", "actor"),
    [
        ("gastown/polecats/nux", "gastown/polecats/nux"),
        ("gastown/crew/max/", "gastown/crew/max"),
        ("mayor/", "mayor"),
        ("deacon/dogs/rex", "deacon/dogs/rex"),
        ("gastown/witness", "gastown/witness"),
    ],
)
def test_a_sling_to_an_agent_assigns_the_bead(target: str, actor: str) -> None:
    """The target is written as an address, with or without a slash at its end."""
    expected = BeadAssigned(at=AT, seen_by="feed", bead="gt-1", actor=actor, by="mayor")
    assert expected == event(line("sling", "mayor/", bead="gt-1", target=target))


@pytest.mark.parametrize("target", ["gastown", "dog", "deacon/dogs", "polecat", "a/b/c/d", ""])
def test_a_sling_to_no_one_agent_is_only_logged(target: str) -> None:
    """A rig or a pool says not yet who will work."""
    found = event(line("sling", bead="gt-1", target=target))
    assert (
        GtLogged(at=AT, seen_by="feed", type="sling", actor="mayor", payload={"bead": "gt-1", "target": target})
        == found
    )


def test_hook_unhook_and_done_are_said_by_the_agent_itself() -> None:
    """Their actor is the one whose hook it is."""
    nux = "gastown/polecats/nux"
    common = {"at": AT, "seen_by": "feed", "bead": "gt-1", "actor": nux}
    assert BeadAssigned.model_validate(common) == event(line("hook", nux, bead="gt-1"))
    assert BeadReleased.model_validate(common | {"how": "unhook"}) == event(line("unhook", nux, bead="gt-1"))
    assert BeadReleased.model_validate(common | {"how": "done"}) == event(line("done", nux, bead="gt-1", branch="b"))


def test_a_session_start_names_role_rig_and_actor() -> None:
    """The role is compound; where it is bare, the actor says the rest."""
    expected = SessionStarted(
        at=AT, seen_by="feed", session_id="s-1", role="polecat", rig="gastown", actor="gastown/polecats/nux", cwd="/t/x"
    )
    full = line("session_start", "x", session_id="s-1", role="gastown/polecats/nux", cwd="/t/x")
    bare = line("session_start", "gastown/polecats/nux", session_id="s-1", role="polecat", cwd="/t/x")
    assert expected == event(full)
    assert expected == event(bare)


@pytest.mark.parametrize(
    ("reason", "died"),
    [
        ("idle-reap: working-no-hook, idle 15m0s (threshold 15m0s)", False),
        ("self-clean: done means idle", False),
        ("user shutdown", False),
        ("forced shutdown", True),
        ("zombie cleanup", True),
        ("crashed with exit code 42", True),
        ("", True),
    ],
)
def test_a_session_death_is_a_death_unless_it_was_in_good_order(reason: str, died: bool) -> None:
    """The type is the same for a crash and for an idle session that it reaps."""
    found = event(line("session_death", "gt-nux", session="gt-nux", reason=reason))
    assert SessionEnded(at=AT, seen_by="feed", tmux_session="gt-nux", reason=reason or "unknown", died=died) == found


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"ts":"2026-01-18T09:52:29Z","type":"x"', "line.not_json"),
        (b"[" * 10_000 + b"]" * 10_000, "line.not_json"),
        (b'{"ts":"2026-01-18T09:52:29Z","type":"x","payload":{"a":' + b"[" * 10_000, "line.not_json"),
        (b'{"ts":"2026-01-18T09:52:29Z","type":"x","payload":{"a":"\\ud800"}}', "line.not_json"),
        (b'{"ts":"2026-01-18T09:52:29Z","type":"x","payload":{"a":NaN}}', "line.not_json"),
        (b"[1]", "line.not_object"),
        (b"null", "line.not_object"),
        (b'{"type":"x"}', "line.bad_ts"),
        (b'{"ts":17,"type":"x"}', "line.bad_ts"),
        (b'{"ts":"2026-01-18T09:52:29","type":"x"}', "line.bad_ts"),
        (b'{"ts":"0001-01-01T00:00:00+23:59","type":"x"}', "line.bad_ts"),
        (b'{"ts":"2026-01-18T09:52:29Z"}', "line.no_type"),
        (b'\0\0{"ts":"2026-01-18T09:52:29Z","type":"x"}', "line.nul"),
        (b'{"ts":"2026-01-18T09:52:29Z","type":"\xff"}', "line.not_utf8"),
    ],
)
def test_a_bad_line_is_named(content: bytes, kind: str) -> None:
    """Each kind of damage has a constant name."""
    with pytest.raises(BadLine) as caught:
        parse_line(content)
    assert kind == caught.value.kind


def test_what_a_line_says_identifies_it() -> None:
    """Order of keys, spacing and fields that we do not read make no other line; any value does."""
    one = parse_line(b'{"ts":"2026-01-18T09:52:29Z","type":"done","actor":"a","payload":{"bead":"x","branch":"y"}}')
    same = parse_line(
        b'{"payload": {"branch":"y", "bead":"x"}, "visibility":"both","type":"done",'
        b'"actor":"a","ts":"2026-01-18T09:52:29Z"}'
    )
    other = parse_line(b'{"ts":"2026-01-18T09:52:29Z","type":"done","actor":"a","payload":{"bead":"x","branch":"z"}}')
    assert one.digest == same.digest
    assert one.digest != other.digest


def test_nine_digits_of_a_second_are_understood() -> None:
    """Go's RFC3339Nano."""
    assert AT.replace(microsecond=123456) == parse_line(b'{"ts":"2026-01-18T10:52:29.123456789+01:00","type":"x"}').at


def test_a_large_payload_is_cut_to_what_the_bus_takes() -> None:
    """The small values stay, the large ones are counted."""
    found = event(line("mail", to="mayor", subject="x" * 900_000, other="y" * 90_000))
    assert isinstance(found, GtLogged)
    assert {"to": "mayor", "gtftd_cut": 2} == found.payload


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    kind=st.sampled_from(["sling", "hook", "unhook", "done", "session_start", "session_death", "mail"])
    | st.text(min_size=1),
    actor=_values,
    payload=_values
    | st.dictionaries(st.sampled_from(["bead", "target", "session", "session_id", "role", "cwd", "reason"]), _values),
)
def test_every_line_that_parses_becomes_a_fact_that_encodes(kind: str, actor: object, payload: object) -> None:
    """No value in any field can stop the tail."""
    said = {"ts": "2026-01-18T09:52:29Z", "type": kind, "actor": actor, "payload": payload}
    content = json.dumps(said, ensure_ascii=False)
    try:
        parsed = parse_line(content.encode("utf-8", "surrogatepass"))
    except BadLine:
        return
    body = Envelope.wrap(to_event(parsed), id="i", source="s", time=parsed.at).encode()
    assert len(body) < MAX_EVENT_BYTES


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(content: bytes) -> None:
    """It raises BadLine or understands."""
    try:
        parse_line(content)
    except BadLine as error:
        assert error.kind.startswith("line.")


@pytest.mark.parametrize("depth", [50, 150, 190, 250])
def test_nesting_either_parses_and_encodes_or_is_refused(depth: int) -> None:
    """There is no depth at which reading works and writing does not."""
    content = b'{"ts":"2026-01-18T09:52:29Z","type":"x","payload":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    try:
        parsed = parse_line(content)
    except BadLine:
        return
    assert Envelope.wrap(to_event(parsed), id="i", source="s", time=parsed.at).encode()
