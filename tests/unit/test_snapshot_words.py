"""Words, phrases and what is found by them: however it is made fast, it is what it says."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.snapshot.decontaminate import items_in_text
from gtftd.corpus.snapshot.evals import read_evals
from gtftd.corpus.snapshot.outliers import Taught, rare_phrases
from gtftd.corpus.snapshot.words import phrase_of, phrases, words_of
from tests.support.snapshots import say

texts = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=st.sampled_from("aZ_9 -.\n\0\x1c─…éİſΣς中\ud800"), max_size=60),
)


@settings(deadline=None)
@given(texts)
def test_words_are_runs_of_letters_and_digits_in_lower_case(text: str) -> None:
    """In every script, whatever stands between them."""
    assert re.findall(r"\w+", text.lower()) == words_of(text)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 900), st.integers(0, 9), st.booleans())
def test_phrases_can_be_named_by_their_hash(count: int, seed: int, broken: bool) -> None:
    """The least 400 of them, in order; half a surrogate pair among the words hinders nobody."""
    words = [*words_of(say(seed, count)), *(["half\ud800"] if broken else [])]
    digests = array("I", phrases(words))
    assert sorted(set(digests))[:400] == list(digests)
    assert all(phrase_of(digest, words) is not None for digest in digests)
    assert len(digests) <= 400


def taught(numbers: Sequence[int], source: str) -> list[Taught]:
    return [Taught(f"e{number}", f"{number:02}", source, ()) for number in numbers]


def test_a_phrase_is_rare_when_one_source_has_it_often() -> None:
    """In at least five of its entries, in no more than half of them, and in nobody else's, whoever comes first."""
    everyone = [*taught(range(12), "a"), *taught(range(12, 24), "b")]
    hashes = {one.sha256: [7] if one.source == "b" else [8] for one in everyone}
    for number in range(6):
        hashes[f"{number:02}"] += [1, 2]
    for number in range(12, 17):
        hashes[f"{number:02}"] += [3]
    for number in range(20, 24):
        hashes[f"{number:02}"] += [4]
    hashes["23"] += [2]
    for order in (sorted(hashes), sorted(hashes, reverse=True)):
        found = rare_phrases(everyone, [(name, array("I", hashes[name]).tobytes()) for name in order])
        assert [("1", "a", 6), ("3", "b", 5)] == [(one.name, one.source, one.entries) for one in found]


def test_an_eval_item_is_found_wherever_it_stands(tmp_path: Path) -> None:
    """At the beginning, in the middle and at the end of a text; without its words there is nothing."""
    item = say("item", 13)
    (tmp_path / "evals.jsonl").write_text(json.dumps({"prompt": item}) + "\n")
    index = read_evals([tmp_path])
    for before, after in ((0, 40), (20, 20), (40, 0), (0, 0)):
        text = f"{say('before', before)} {item.upper()}, {say('after', after)}"
        assert ("evals.jsonl#1",) == items_in_text(text, index)
        assert () == items_in_text(text.replace(item.upper().rsplit(maxsplit=1)[0], ""), index)
