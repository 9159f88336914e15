"""From two rankings to one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.rag.fusion import fuse, reciprocal, weight_of

SCORES = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(-5, 50).map(float), max_size=10)


def ranking(scores: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


@settings(deadline=None)
@given(SCORES, SCORES)
def test_fusing_keeps_every_candidate_once_and_in_order(lexical: dict[str, float], dense: dict[str, float]) -> None:
    """Nothing is lost or doubled, scores lie in 0 to 1 and fall, equals are in the order of their ids."""
    for fused in (fuse(ranking(lexical), ranking(dense)), reciprocal([ranking(lexical), ranking(dense)])):
        assert set(lexical) | set(dense) == {chunk for chunk, _ in fused}
        assert len(fused) == len({chunk for chunk, _ in fused})
        assert fused == sorted(fused, key=lambda item: (-item[1], item[0]))
        assert all(0 <= score <= 1 + 1e-9 for _, score in fused)


@settings(deadline=None)
@given(SCORES)
def test_one_ranking_alone_decides(scores: dict[str, float]) -> None:
    """With the other empty (no model yet, or no word in common) its order is kept where scores differ."""
    for fused in (fuse(ranking(scores), []), fuse([], ranking(scores))):
        told = [scores[chunk] for chunk, _ in fused]
        assert told == sorted(told, reverse=True)


@settings(deadline=None)
@given(SCORES, SCORES, st.sampled_from("abcdefghij"))
def test_what_is_best_in_both_is_best(lexical: dict[str, float], dense: dict[str, float], best: str) -> None:
    """A chunk that leads both rankings leads."""
    fused = fuse(ranking(lexical | {best: 60.0}), ranking(dense | {best: 60.0}))
    assert best == fused[0][0]


@pytest.mark.parametrize(
    "query", ["gt-abc12", "what does --cleanup-status do", "see docs/a.md", "GT_DOLT_PORT", "readFormula"]
)
def test_names_make_words_count_more(query: str) -> None:
    """Embeddings blur names, so a question that holds one trusts its words."""
    assert weight_of(query) > weight_of("what does a worker do when it is done")


def test_what_waits_for_its_vector_is_judged_by_its_words() -> None:
    """Else a chunk that was just written stands behind everything that is a little like the question."""
    lexical, dense = [("new", 9.0), ("old", 1.0)], [("old", 0.9), ("other", 0.1)]
    assert "new" == fuse(lexical, dense, waiting={"new"})[0][0]
    assert "old" == fuse(lexical, dense)[0][0]


@pytest.mark.parametrize("query", ["a1b2c3d", "who made 4f2e19"])
def test_a_code_is_looked_up_by_its_letters(query: str) -> None:
    assert weight_of(query) > weight_of("who made it")
