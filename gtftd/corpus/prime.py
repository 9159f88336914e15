"""What `gt prime` tells each role at the start, as documents."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence

from gtftd.corpus.filing import Document, Filing, Tally
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.town.conversation import RawMessage
from gtftd.town.gt_command import Place, find_gt, places_of_agents, read_prime
from gtftd.town.layout import Town


async def collect_prime(
    filing: Filing, town: Town, roles: Sequence[str] | None, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[CollectProgress]:
    """One document for each role, and for each role of each rig. What another source told is left alone."""
    places = [place for place in places_of_agents(town) if not roles or place.role in roles]
    tally = Tally("prime", total=len(places))
    if find_gt(environ) is None:
        tally.skip(len(places))
        yield tally.progress("gt is not on the PATH: what it prints is found in transcripts only", finished=True)
        return
    yield tally.progress()
    silent = 0
    for place in places:
        told = await read_prime(place, town.root, environ)
        if told is None:
            silent += 1
            tally.skip()
        else:
            await filing.put(_document(place, told), tally)
        yield tally.progress(place.role)
    yield tally.progress(f"gt prime did not answer in {silent} places" if silent else "", finished=True)


def _document(place: Place, told: str) -> Document:
    return Document(
        kind="prime",
        origin=f"prime:{place.role}/{place.rig or ''}",
        source="gt",
        messages=(RawMessage("system", told.replace("\0", "\ufffd"), kind="meta"),),
        role=place.role,
        rig=place.rig,
        title=f"gt prime for {place.role}",
    )
