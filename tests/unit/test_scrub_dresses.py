"""A secret in other clothes is the same secret: encodings, edges of terminals, seams between messages."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.scrub import PLACEHOLDER, Scrubber
from gtftd.scrub.cuts import joined_each
from gtftd.scrub.views import View, source_view, undressed
from gtftd.town.conversation import RawCall, RawMessage

SCRUBBER = Scrubber({"TOWN_TOKEN": "correct-horse-battery"}, key=b"a key for tests, of 32 bytes....")
ALNUM = string.ascii_letters + string.digits


def token(seed: int) -> str:
    rng = random.Random(seed)
    return "gh" + "p_" + "".join(rng.choice(ALNUM) for _ in range(36))


DRESSES: dict[str, Callable[[str], str]] = {
    "json": lambda text: json.dumps({"a": text, "n": 1}),
    "url": lambda text: "https://h.dev/?q=" + quote(text, safe=""),
    "percent": lambda text: "".join(f"%{ord(sign):02X}" for sign in text if ord(sign) < 128),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hex": lambda text: text.encode().hex(),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "colour": lambda text: f"\x1b[1;32m{text[: len(text) // 2]}\x1b[0m\x1b[1m{text[len(text) // 2 :]}\x1b[0m",
    "numbered": lambda text: "".join(
        f"\\u{ord(sign):04x}" if sign.isalnum() or sign == "\\" else sign for sign in text
    ),
    "shell": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "prose": lambda text: f"it was {text} yesterday",
}


@given(st.integers(0, 10_000), st.lists(st.sampled_from(sorted(DRESSES)), max_size=3))
@settings(max_examples=250, deadline=None)
def test_no_token_survives_three_dresses(seed: int, dresses: list[str]) -> None:
    """Whatever was put around it, and in whatever order: nothing is left that undressing would bring back."""
    secret = token(seed)
    text = secret
    for place, name in enumerate(dresses):
        if name == "colour" and "colour" in dresses[:place]:  # it would cut the first one's marks in two
            continue
        text = DRESSES[name](text)
    scrubbed = SCRUBBER.scrub_text(f"out: {text}\nend")
    assert PLACEHOLDER.search(scrubbed), text
    plain = text
    assert secret not in scrubbed and (plain == scrubbed) is False
    assert scrubbed.startswith("out: ") and scrubbed.endswith("end")


@pytest.mark.parametrize("width", range(20, 121, 5))
@pytest.mark.parametrize("frame", ["{}", "│ {} │", "    {}"])
def test_a_terminal_of_any_width_hides_no_token(width: int, frame: str) -> None:
    """Cut anywhere, framed or indented: no piece of eight characters is left."""
    for seed in range(6):
        secret = token(seed)
        line = "$ export GH=" + secret + " && gh auth status --hostname github.example"
        cut = [line[at : at + width] for at in range(0, len(line), width)]
        scrubbed = SCRUBBER.scrub_text("\n".join(frame.format(part) for part in cut))
        left = [secret[at : at + 8] for at in range(33) if secret[at : at + 8] in scrubbed]
        assert [] == left, (secret, scrubbed)


@pytest.mark.parametrize("cut", [3, 4, 9, 20, 33, 38])
@pytest.mark.parametrize("gap", ["", "\n"])
def test_a_value_split_over_messages_is_found(cut: int, gap: str) -> None:
    """Over two results of tools, with a word of the agent in between, and over two messages in a row."""
    secret = token(cut)
    results = [RawMessage("tool", f"first chunk {secret[:cut]}{gap}", tool_call_id="toolu_1"),
               RawMessage("tool", f"{secret[cut:]} and more", tool_call_id="toolu_2")]  # fmt: skip
    spoken = RawMessage("assistant", "next", (RawCall("toolu_2", "Bash", {"command": "cat"}),))
    for raws in (results, [results[0], spoken, results[1]]):
        said = SCRUBBER.scrub_messages(raws)
        whole = "".join(message.content for message in said.messages)
        assert [] == [secret[at : at + 8] for at in range(33) if secret[at : at + 8] in whole], whole
        assert "first chunk " in whole and " and more" in whole


def test_doubts_tell_where_and_a_release_restores() -> None:
    """An uncertain span is replaced and reported without its value; a released value stays."""
    odd = "zQ8vK2mX7rT4pL9wB3nD"
    raws = [RawMessage("user", "hello"), RawMessage("user", f"look at {odd} please")]
    said = SCRUBBER.scrub_messages(raws)
    (doubt,) = said.doubts
    assert odd not in said.messages[1].content and doubt.placeholder in said.messages[1].content
    assert (doubt.message, doubt.digest) == (1, SCRUBBER.digest(odd)) and odd not in repr(doubt)
    assert {doubt.placeholder: odd} == SCRUBBER.values_behind(raws[1].content)
    released = Scrubber({}, key=b"a key for tests, of 32 bytes....", allowed=[doubt.digest])
    assert raws[1].content == released.scrub_messages(raws).messages[1].content


def test_one_secret_reads_the_same_in_every_dress() -> None:
    """The placeholder is that of the value, not of its clothes."""
    secret = token(1)
    names = {
        PLACEHOLDER.findall(SCRUBBER.scrub_text(f"x {DRESSES[name](secret)} y"))[0]
        for name in ("json", "base64", "hex", "shell")
    }
    assert 1 == len(names)


@given(st.text(alphabet=st.sampled_from(list('ab1"\\n%u04x6&;#\x1b[m \n\u200b')), max_size=120))
@settings(max_examples=400, deadline=None)
def test_every_place_of_a_view_knows_its_source(text: str) -> None:
    """Spans are ordered, inside the source, and a character that was not rewritten is the same in both."""
    source = source_view(text.replace("\0", ""))
    view = undressed(source)
    for seen in filter(None, (view, *joined_each([view]))):
        last = 0
        for place in range(len(seen.text)):
            start, end = seen.span(place, place + 1)
            assert last <= start < end <= len(source.text)
            if end - start == 1 and source.text[start] not in "\\%&\x1b" and seen.text[place] != "\0":
                assert seen.text[place] == source.text[start]
            last = start if seen.parent is not None and seen.text[place] == "\0" else end


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_findings_are_spans_of_the_source(text: str) -> None:
    """In order, without overlap; what is outside of them comes out as it went in."""
    found = SCRUBBER.find(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(0 <= item.start < item.end <= len(text) for item in found)
    if not found and "\0" not in text and text.isprintable():
        assert text == SCRUBBER.scrub_text(text)


def test_a_view_without_changes_is_its_source() -> None:
    """Clean text costs no copy and comes out byte for byte."""
    view = source_view("plain text, nothing else")
    assert undressed(view) is view and joined_each([view]) == [None] and isinstance(view, View)


def test_what_is_too_crowded_or_too_large_to_read_goes_whole() -> None:
    """A bomb, and a crowd of marks that hides a secret: nothing of either is left, the text around it is."""
    bomb = base64.b64encode(gzip.compress(b"0" * 5_000_000 + token(1).encode())).decode()
    scrubbed = SCRUBBER.scrub_text(f"see {bomb[:2000]}{bomb[2000:]} end")
    assert bomb[:64] not in scrubbed and bomb[-600:-536] not in scrubbed
    crowd = 'pwd="' * 4000
    scrubbed = SCRUBBER.scrub_text("before\n" * 2000 + crowd + token(2) + crowd + "\nafter" * 2000)
    assert token(2)[:12] not in scrubbed and "<UNREAD:" in scrubbed and len(scrubbed) < 40_000
    assert scrubbed.startswith("before\n") and scrubbed.endswith("\nafter")


_READ_BLOBS = 6
"""So many fit the room that unpacked text has; they are read, hold nothing and stay."""


def test_bombs_share_one_room() -> None:
    """A hundred small blobs that unpack to much: the first are read, all others go."""
    blobs = [base64.b64encode(gzip.compress(b"%d" % at + b"0" * 60_000)).decode() for at in range(100)]
    scrubbed = SCRUBBER.scrub_text("\n\n".join(f"blob: {blob} ." for blob in blobs))
    assert [] == [blob for blob in blobs if blob in scrubbed][_READ_BLOBS:]
