"""Texts of the sample town."""

from __future__ import annotations

from importlib import resources


def read_text(name: str) -> str:
    """A file beside this one, by its path."""
    return resources.files(__name__).joinpath(*name.split("/")).read_text(encoding="utf-8")
