"""The scrubber's figures, judged by a generator and a decoder that share nothing with its rules.

The small run is for every day; `heavy` is the benchmark's size. No clock is asserted: `benchmarks/scrub.py` measures.
"""

from __future__ import annotations

import base64
from random import Random

import pytest

from benchmarks.scrub_hostile import HOSTILE
from benchmarks.scrub_precision import Precision, cuts, measure_precision, report
from benchmarks.scrub_recall import Recall, measure_recall, shown_misses, tables, town_scrubber
from benchmarks.scrub_verdict import judge
from gtftd.town.conversation import RawMessage
from tests.support import planted_mint as mint
from tests.support.planted import Score, sessions
from tests.support.planted_clean import clean_texts
from tests.support.planted_encodings import ENCODERS
from tests.support.planted_kinds import TYPED, kinds

pytestmark = pytest.mark.timeout(600)

SEED = 20261122
TYPED_RECALL = 0.995
GENERIC_RECALL = 0.95
KNOWN_RECALL = 0.995
PRECISION = 0.90


@pytest.fixture(scope="module")
def recall() -> Recall:
    return measure_recall(town_scrubber(), sessions(SEED, 2_000_000))


@pytest.fixture(scope="module")
def precision() -> Precision:
    return measure_precision(town_scrubber(), clean_texts(SEED, 6_000_000))


@pytest.mark.parametrize(
    ("group", "wanted"), [("typed", TYPED_RECALL), ("generic", GENERIC_RECALL), ("known", KNOWN_RECALL)]
)
@pytest.mark.parametrize("held_out", [False, True])
def test_recall(recall: Recall, group: str, wanted: float, held_out: bool) -> None:
    """Of each class at least this share can no longer be read, in the wording that was open and in the held out one."""
    found = recall.score.recall(held_out=held_out, group=group)
    assert found >= wanted, f"{group}: {found:.4f}\n{tables(recall.score)}\n{shown_misses(recall.score, 10)}"


def test_precision(precision: Precision) -> None:
    """Of what is cut out of clean code and prose, at least nine tenths should not have stood there."""
    assert precision.share() >= PRECISION, report(precision)


def test_clean_text_is_left_alone(precision: Precision) -> None:
    """Hardly any text is lost, and next to nothing that should stay: who cuts everything has a perfect recall."""
    assert precision.cut_bytes / precision.size < 0.005, report(precision)
    assert precision.wrong_bytes / precision.size < 0.0005, report(precision)
    assert precision.wrong.total() / (precision.size / 1e6) < 5, report(precision)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_recall_at_full_size() -> None:
    """The same promises on twenty megabytes, and for every encoding by itself."""
    score = measure_recall(town_scrubber(), sessions(SEED + 1, 20_000_000)).score
    told = f"{tables(score)}\n{shown_misses(score, 20)}"
    assert score.recall(group="typed") >= TYPED_RECALL, told
    assert score.recall(group="generic") >= GENERIC_RECALL, told
    assert {} == {name: share for name in ENCODERS if (share := score.recall(group="typed", encoding=name)) < 0.98}, (
        told
    )


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_precision_at_full_size() -> None:
    """The same promise on fifty megabytes."""
    precision = measure_precision(town_scrubber(), clean_texts(SEED + 1, 50_000_000))
    assert precision.share() >= PRECISION, report(precision)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_comes_back(name: str) -> None:
    """Text made to be slow or to break a decoder is scrubbed like any other: one message in, one message out."""
    message = RawMessage("tool", HOSTILE[name](50_000), tool_call_id="toolu_0001")
    result = town_scrubber().scrub_messages([message])
    assert 1 == len(getattr(result, "messages", None) or result[0])  # type: ignore[index]


# The examiner examined.


def test_everything_planted_can_be_read() -> None:
    """Before scrubbing the decoder reads every plant, so that a plant it cannot read afterwards is gone."""
    score = Score()
    for session in sessions(SEED, 500_000):
        score.judge(session, session.messages)
    assert score.planted == score.missed


def test_nothing_is_read_where_nothing_is_left() -> None:
    score = Score()
    for session in sessions(SEED, 100_000):
        score.judge(session, [RawMessage(message.role, "<SECRET:00>") for message in session.messages])
    assert 0 == score.missed.total()


def test_the_same_seed_makes_the_same_sessions() -> None:
    assert list(sessions(3, 100_000)) == list(sessions(3, 100_000))


def test_the_plants_are_of_many_kinds() -> None:
    """At least forty kinds of typed secrets, twelve encodings, and two styles whose contexts have no name in common."""
    assert len(TYPED) >= 40
    assert len(ENCODERS) >= 12
    assert len({kind.name for kind in kinds()}) == len(list(kinds()))


def test_checksums_are_the_published_ones() -> None:
    """GitHub's own example of a token, the seeds of NATS's documents, the shortest valid Bech32."""
    assert "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" == mint.with_crc("ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")
    for seed in ("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", mint.nkey_seed(Random(1))):
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        assert raw[-2:] == mint.crc16(raw[:-2]).to_bytes(2, "little")
    assert mint.bech32_holds("a12uel5l")
    assert mint.bech32_holds(mint.age_key(Random(1)).shown.lower())


def test_a_cut_is_found_again() -> None:
    """The spans that placeholders stand for are told from the text between them."""
    original = "mail ann@north.io and bob@north.io\nkey = 12345\n"
    found = [cut.span for cut in cuts(original, "mail <EMAIL:a1> and <EMAIL:b2>\nkey = <KEY:c3>\n")]
    assert ["ann@north.io", "bob@north.io", "12345"] == found
    assert ["12345"] == [cut.span for cut in cuts("key=12345\n", "key='<KEY:c3>'\n")]
    assert ["12345"] == [cut.span for cut in cuts("key='12345'\n", "key='<KEY:c3>'\n")]
    assert ["ab", "cd"] == [cut.span for cut in cuts("x=ab y=cd", "x='<K:1>' y='<K:2>'")]


@pytest.mark.parametrize(
    ("before", "span", "after", "right", "name"),
    [
        ("Author: Ann <", "ann.berg@north.io", ">", True, "e-mail address"),
        ("clone ", "git@github.com", ":a/b", False, "not an e-mail address"),
        ("<", "me@gus.host", ">", True, "e-mail address"),
        ("<", "me@host.com", ">", False, "e-mail address of nobody"),
        (
            "data = '",
            "PgpMYW5ndWFnZS1UZWFtOiBYWCA8cHl0aG9uLWRldkBweXRob24ub3JnPgpNSU1F",
            "'",
            True,
            "e-mail address in base64",
        ),
        ("data = '", "bGUKR2VuZXJhdGVkLUJ5OiBweWdldHRleHQucHkgMS4zCgA=", "'", False, "base64 or long identifier"),
        ("call ", "(412) 268-4387", ", fax", True, "phone number"),
        ("write to ", "you@example.com", "", False, "e-mail address of nobody"),
        ("listening on ", "84.23.11.7", ":80", True, "IPv4 address"),
        ('host = "', "172.19.10.5", '"', True, "IPv4 address"),
        ('version = "', "4.19.10.5", '"', False, "version or number taken for IPv4"),
        ("Version ", "84.23.11.7", "", False, "version or number taken for IPv4"),
        ("bind ", "127.0.0.1", "", False, "IP address of nobody"),
        ('password = "', "kT9!vbQ2zz", '"', True, "value of a secret's key"),
        ("password = ", "get_password", "()", False, "word or expression after a key"),
        ('token: "', "your-token-here", '"', False, "sample value of a key"),
        ("commit ", "9c1f0b6f2d3e4a5b6c7d8e9f0a1b2c3d4e5f6a7b", "\n", False, "hash"),
        ("id ", "123e4567-e89b-42d3-a456-426614174000", "", False, "uuid"),
        ("cd ", "/home/mkorhonen", "/src", True, "home path"),
        ("cd ", "/home/user", "/src", False, "home of nobody"),
        ("postgres://app:", "kT9vbQ2zz", "@db/x", True, "credential in a URL"),
        ("postgres://user:", "password", "@db/x", False, "sample in a URL"),
    ],
)
def test_the_rules_of_right_and_wrong(before: str, span: str, after: str, right: bool, name: str) -> None:
    verdict = judge(span, before, after)
    assert (right, name) == (verdict.right, verdict.name)
