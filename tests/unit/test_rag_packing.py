"""What fits into a budget of tokens."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from gtftd.rag.packing import Item, choose, cut
from gtftd.rag.tokens import Estimate

COUNTER = Estimate()
ITEMS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), max_size=9)


def items_of(pairs: list[tuple[int, int]]) -> list[Item]:
    return [Item(str(at), float(value), tokens) for at, (value, tokens) in enumerate(pairs)]


@given(ITEMS, st.integers(-1, 40))
def test_choice_is_worth_as_much_as_the_best_of_all_choices(pairs: list[tuple[int, int]], budget: int) -> None:
    """Exact, against every subset."""
    items = items_of(pairs)
    subsets = [chosen for size in range(len(items) + 1) for chosen in combinations(items, size)]
    fitting = [sum(one.value for one in some) for some in subsets if sum(one.tokens for one in some) <= budget]
    chosen = choose(items, budget)
    assert max(fitting, default=0) == sum(one.value for one in chosen)
    assert sum(one.tokens for one in chosen) <= max(budget, 0)


@given(ITEMS, st.integers(0, 40))
def test_same_items_give_the_same_choice_in_the_given_order(pairs: list[tuple[int, int]], budget: int) -> None:
    """No clock, no hash order, no chance."""
    items = items_of(pairs)
    chosen = choose(items, budget)
    assert chosen == choose(list(items), budget)
    assert chosen == [one for one in items if one in chosen]


def test_of_equal_choices_the_smaller_one_wins() -> None:
    """Tokens that buy nothing are not spent."""
    items = [Item("wide", 2, 9), Item("a", 1, 2), Item("b", 1, 2)]
    assert ["a", "b"] == [one.key for one in choose(items, 10)]


def test_worthless_and_too_long_items_are_left_out() -> None:
    """They cost nothing either."""
    assert [] == choose([Item("a", 0, 1), Item("b", 5, 11), Item("c", -1, 0)], 10)


def test_short_text_is_not_cut() -> None:
    """What fits stays as it is, to the byte."""
    made = cut("one\ntwo\n", 100, COUNTER, "`bd show gt-a`")
    assert ("one\ntwo\n", "") == (made.text, made.mark)


def test_long_text_is_cut_after_a_line_and_says_so() -> None:
    """A must-have keeps its beginning; the mark tells how much is shown and where the rest is."""
    text = "\n".join(f"line {number} of the bead" for number in range(200))
    made = cut(text, 80, COUNTER, "`bd show gt-a`")
    shown = made.text.split("\n")
    assert text.split("\n")[: len(shown)] == shown
    assert f"[cut: {len(shown)} of 200 lines; the rest: `bd show gt-a`]" == made.mark
    assert COUNTER.count(made.whole) <= 80
    assert COUNTER.count(made.whole) > 60


def test_line_without_end_is_cut_within() -> None:
    """A text without newlines must not take the whole budget, nor nothing."""
    made = cut("word " * 20_000, 60, COUNTER, "`gt prime`")
    assert made.text.startswith("word word")
    assert made.mark.startswith("[cut within")
    assert 40 < COUNTER.count(made.whole) <= 60


@given(st.text(max_size=400), st.integers(0, 120))
def test_cut_never_takes_more_than_the_budget(text: str, budget: int) -> None:
    """Whatever the text is; what is shown is a beginning of it."""
    made = cut(text, budget, COUNTER, "`bd show gt-a`")
    assert COUNTER.count(made.whole) <= budget
    assert text.startswith(made.text)
