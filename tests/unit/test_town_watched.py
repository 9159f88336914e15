"""Which files of a town are watched by their names."""

from __future__ import annotations

import pytest

from gtftd.town.watched import may_be_a_key


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mol-polecat-work.formula.toml", False),
        ("drift_review_of_2026_03_05.formula.toml", False),
        ("averyveryverylongnamewithoutanydigits.md", False),
        ("20260305101112131415161718.md", False),
        ("new-sbp_bc73444625f919db5c8e41c53fa4c29c7553691e.formula.toml", True),
        ("AKIANWU2KOQ7X6N2WSK1.md", True),
    ],
)
def test_names_that_may_be_credentials_are_not_told(name: str, wanted: bool) -> None:
    """Facts carry paths in clear; a file with such a name stays out of them."""
    assert wanted == may_be_a_key(name)
