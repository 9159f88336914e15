"""Who and what there is in a sample town."""

from __future__ import annotations

from dataclasses import dataclass

TOWN_PREFIX = "hq"
TOWN_DATABASE = "hq"


@dataclass(frozen=True)
class SampleRig:
    """One project of the sample town; the database bears its name."""

    name: str
    prefix: str
    polecats: tuple[str, ...]
    crew: tuple[str, ...]
    git_url: str


RIGS = (
    SampleRig("harbor", "hb", ("furiosa", "nux", "slit"), ("max",), "https://git.example.invalid/harbor.git"),
    SampleRig("lantern", "ln", ("toast", "capable"), ("dag",), "https://git.example.invalid/lantern.git"),
)
