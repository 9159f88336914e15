"""The scrubber as it must be now: made at first use, and anew when the town's secrets or a verdict change."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from gtftd.errors import Invalid
from gtftd.state.files import write_atomic
from gtftd.town.layout import load_town

if TYPE_CHECKING:
    from gtftd.scrub import Scrubber

LOOK_AGAIN_S = 300.0


class LatestScrubber:
    """One scrubber for every thread. The town's known values are read again every few minutes; its version tells
    which they were, by a keyed digest, so that entries are audited when a new secret becomes known.
    """

    def __init__(self, town_root: Path, state_dir: Path, allowed: Callable[[], frozenset[str]]) -> None:
        """`allowed` gives the digests of the values that a person has let pass."""
        self._town_root = town_root
        self._state_dir = state_dir
        self._allowed = allowed
        self._lock = Lock()
        self._made: Scrubber | None = None
        self._made_from: object = None
        self._looked_at = 0.0

    def __call__(self) -> Scrubber:
        """Blocks while files are read: call it in a thread."""
        with self._lock:
            if self._made is None:
                self._made = self._look()
            elif time.monotonic() - self._looked_at > LOOK_AGAIN_S:
                with contextlib.suppress(Invalid):  # a half-written list of rigs: what was known stays known
                    self._made = self._look()
            return self._made

    def look_again(self) -> None:
        """A verdict has changed: the next caller gets a scrubber that knows it."""
        self._looked_at = float("-inf")

    def scrub_value(self, value: object) -> object:
        if value in ("", {}, None):
            return value
        return self().scrub_value(value)

    def _look(self) -> Scrubber:
        from gtftd.scrub import Scrubber
        from gtftd.scrub.known import known_values_of

        town = load_town(self._town_root)
        known = known_values_of(self._town_root, [rig.path for rig in town.rigs], environ=os.environ)
        made_from = (known, self._allowed())
        self._looked_at = time.monotonic()
        if self._made is not None and made_from == self._made_from:
            return self._made
        self._made_from = made_from
        scrubber = Scrubber(
            known,
            key=self._key(),
            home=str(Path.home()),
            users={getpass.getuser()} - {"root"},
            hosts=[socket.gethostname()],
            allowed=made_from[1],
        )
        scrubber.version += "." + scrubber.digest("\n".join(sorted(known.values())))[:8]
        return scrubber

    def _key(self) -> bytes:
        """Random, made once for each town: placeholders stay the same for ever, and nobody else can make them."""
        file = self._state_dir / "scrub.key"
        if not file.exists():
            write_atomic(file, secrets.token_bytes(32))
        return file.read_bytes()
