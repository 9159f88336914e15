"""The pure parts of a snapshot's choice: splits, caps, duplicates, roots."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from gtftd.corpus.snapshot.caps import Part, cap_own_models, cap_sources, shares
from gtftd.corpus.snapshot.dedupe import Candidate, find_duplicates
from gtftd.corpus.snapshot.manifest import merkle_root
from gtftd.corpus.snapshot.select import Node
from gtftd.corpus.snapshot.splits import give_splits
from gtftd.corpus.snapshot.words import sketch
from gtftd.schemas.settings import SnapshotSettings

SETTINGS = SnapshotSettings(test_fraction=0.2, dev_fraction=0.2)
nodes = st.lists(
    st.builds(
        Node,
        entry_id=st.uuids().map(str),
        role=st.sampled_from(["polecat", "refinery"]),
        rig=st.sampled_from(["gastown", None]),
        bead=st.sampled_from([None, *(f"gt-{i}" for i in range(12))]),
        session_id=st.sampled_from([None, *(f"s{i}" for i in range(12))]),
        at=st.floats(0, 1e6),
    ),
    max_size=40,
    unique_by=lambda node: node.entry_id,
)


@hypothesis(deadline=None)
@given(nodes)
def test_no_bead_and_no_session_is_in_two_splits(found: list[Node]) -> None:
    """What one agent learned on a bead, another is not tested on."""
    given_, _ = give_splits(found, {}, SETTINGS)
    for key in ("bead", "session_id"):
        splits: dict[str, set[str]] = {}
        for node in found:
            if (work := getattr(node, key)) is not None:
                splits.setdefault(work, set()).add(given_[node.entry_id].split)
        assert all(len(of_one) == 1 for of_one in splits.values())


@hypothesis(deadline=None)
@given(nodes, st.integers(0, 40))
def test_a_split_once_given_is_never_taken_back(found: list[Node], first: int) -> None:
    """Later work may move an entry to where more is held out, and then says so: it is in no split any more."""
    before, remembered = give_splits(found[:first], {}, SETTINGS)
    after, _ = give_splits(found, remembered, SETTINGS)
    again, new = give_splits(found[:first], remembered, SETTINGS)
    assert (before, {}) == (again, new)
    for entry_id, was in before.items():
        now = after[entry_id]
        assert now.split == was.split or now.was == was.split
        assert was.split != "test" or now.split == "test"


def test_the_newest_work_is_for_testing() -> None:
    """As much as the fraction says, of each rig and role."""
    found = [Node(f"e{i:03}", "polecat", "gastown", f"gt-{i}", f"s{i}", float(i)) for i in range(100)]
    splits, _ = give_splits(found, {}, SETTINGS)
    assert {f"e{i:03}" for i in range(80, 100)} == {name for name, one in splits.items() if one.split == "test"}


def test_a_refinery_does_not_make_a_rig_one_group() -> None:
    """A session that touched more beads than `hub_beads` connects none."""
    found = [Node(f"e{i:03}", "refinery", "gastown", f"gt-{i}", "hub", float(i)) for i in range(20)]
    splits, _ = give_splits(found, {}, SETTINGS)
    assert 4 == sum(one.split == "test" for one in splits.values())


parts = st.lists(
    st.builds(
        Part,
        entry_id=st.uuids().map(str),
        source=st.sampled_from([f"actor:{i}" for i in range(16)]),
        own_model=st.booleans(),
        tokens=st.integers(1, 5000),
        confidence=st.floats(0.5, 1),
        at=st.floats(0, 1e6),
    ),
    max_size=60,
    unique_by=lambda part: part.entry_id,
)


@hypothesis(deadline=None)
@given(parts)
def test_after_the_cap_no_source_has_more(found: list[Part]) -> None:
    """Or nobody is left out, and it is said what cannot be kept."""
    capped = cap_sources(found, lambda source: 0.1)
    kept = [part for part in found if part.entry_id not in capped.out]
    sizes = shares(kept, lambda part: part.source)
    is_kept = all(size <= 0.1 * sum(sizes.values()) * (1 + 1e-6) for size in sizes.values())
    assert is_kept != bool(capped.unmet)
    assert not (capped.unmet and capped.out)
    assert capped == cap_sources(list(reversed(found)), lambda source: 0.1)


def test_one_loud_source_is_cut_to_its_cap() -> None:
    """The least sure go first, and no more of them than must."""
    quiet = [Part(f"q{i}", f"actor:{i}", False, 100, 0.9, 0.0) for i in range(18)]
    loud = [Part(f"l{i:02}", "actor:loud", False, 10, 0.5 + i / 200, 0.0) for i in range(80)]
    capped = cap_sources([*quiet, *loud], lambda source: 0.1)
    assert ([], {f"l{i:02}" for i in range(60)}) == (list(capped.unmet), set(capped.out))


def test_our_own_models_make_at_most_their_share() -> None:
    """All of them together."""
    found = [Part(f"e{i:02}", f"actor:{i}", i < 50, 10, 0.9, float(i)) for i in range(80)]
    capped = cap_own_models(found, 0.3)
    assert {f"e{i:02}" for i in range(38)} == set(capped.out)


def near(wanted: float, chance: Random, length: int = 300) -> tuple[list[str], list[str]]:
    """Two texts whose shingles are as similar as that: each word that differs takes three of them."""
    a = [f"w{chance.getrandbits(40)}" for _ in range(length)]
    b = list(a)
    for place in range(round(length * (1 - wanted) / (3 * (1 + wanted)))):
        b[place * 3] = f"w{chance.getrandbits(40)}"
    return a, b


def test_planted_near_duplicates_are_found() -> None:
    """At J = 0.8 at least 95 %, at J = 0.5 nearly none: 200 pairs of each, seeded."""
    for wanted, least, most in ((0.8, 190, 200), (0.5, 0, 2)):
        chance = Random(7)
        candidates = [
            Candidate(f"{number}{side}", "sft", f"{number}{side}", sketch(text))
            for number in range(200)
            for side, text in zip("ab", near(wanted, chance), strict=True)
        ]
        found = find_duplicates(candidates, 0.8)
        assert all(one.entry_id[:-1] == one.of[:-1] for one in found)
        assert least <= len(found) <= most


def test_a_root_knows_its_leaves_and_their_order() -> None:
    """RFC 6962: neither a swap, nor a missing leaf, nor a node in a leaf's place goes unseen."""
    leaves = [bytes([i]) for i in range(5)]
    roots = {merkle_root(leaves), merkle_root(leaves[::-1]), merkle_root(leaves[:4]), merkle_root([*leaves, b""])}
    assert 4 == len(roots)
    assert "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" == merkle_root([b""]).hex()
