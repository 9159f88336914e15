"""What gtftctl may order of the corpus: collect, audit, review, purge. Long orders tell how far they have come."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gtftd.control.server import ControlServer
from gtftd.corpus.audit import Audit
from gtftd.corpus.filing import added
from gtftd.corpus.recollect import Sessions
from gtftd.corpus.review import Review
from gtftd.errors import Invalid
from gtftd.schemas import control as wire
from gtftd.schemas import corpus_orders as orders
from gtftd.schemas.protocol import NoParams

if TYPE_CHECKING:
    from gtftd.programs.parts import Parts

EVERY_S = 0.1
"""Progress is told no more often than this."""
STEP_S = 10.0
"""How long a step that has begun may go on after its caller hung up."""
LOOK_S = 120.0
LONG_S = 3600.0
_RETURNS = {
    "session": "the sessions with it were collected again",
    "artifact": "the files with it were collected again",
    "interactions": "interactions were collected again",
    "operational": "the lives of beads follow with the next `gtftctl corpus operational`",
    "prime": "prime follows with the next `gtftctl corpus prime`",
    "curated": "examples need another `gtftctl corpus add`",
}
"""How entries get back what a verdict restored, by kind."""
P = TypeVar("P", orders.CollectProgress, orders.AuditProgress)


class CollectOrders:
    """The verbs that collect. Two orders of a kind do not run at once: the second one waits for the first."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sessions = Sessions(parts.database, parts.evidence, parts.store, parts.collector)
        self._turns: dict[str, asyncio.Lock] = {}

    def register(self, server: ControlServer) -> None:
        server.verb("corpus.collect", orders.CollectParams, self.collect)
        server.verb("corpus.artifacts", orders.ArtifactsParams, self.artifacts)
        server.verb("corpus.operational", orders.OperationalParams, self.operational)
        server.verb("corpus.interactions", NoParams, self.interactions)
        server.verb("corpus.prime", orders.PrimeParams, self.prime)
        server.verb("corpus.sweep", NoParams, self.sweep)
        server.verb("corpus.add", orders.AddParams, self.add)

    def collect(self, params: orders.CollectParams) -> AsyncIterator[orders.CollectProgress]:
        if [params.session_id is not None, params.bead is not None, params.all].count(True) != 1:
            raise Invalid("name a session, a bead, or all; one of the three")
        return self._in_turn("collect", self._collect(params))

    def artifacts(self, params: orders.ArtifactsParams) -> AsyncIterator[orders.CollectProgress]:
        items = self._parts.documents.artifacts(_path(params.folder), rig=params.rig)
        return self._in_turn("artifacts", items)

    def operational(self, params: orders.OperationalParams) -> AsyncIterator[orders.CollectProgress]:
        named = params.databases or None
        items = self._parts.documents.operational(_path(params.export), named, rig=params.rig)
        return self._in_turn("operational", items)

    def interactions(self, _: NoParams) -> AsyncIterator[orders.CollectProgress]:
        return self._in_turn("interactions", self._parts.documents.interactions())

    def prime(self, params: orders.PrimeParams) -> AsyncIterator[orders.CollectProgress]:
        return self._in_turn("prime", self._parts.documents.prime(params.roles or None))

    def sweep(self, _: NoParams) -> AsyncIterator[orders.CollectProgress]:
        return self._in_turn("sweep", self._sweep())

    def add(self, params: orders.AddParams) -> AsyncIterator[orders.CollectProgress]:
        return self._in_turn("add", self._add(params))

    async def _collect(self, params: orders.CollectParams) -> AsyncIterator[orders.CollectProgress]:
        if params.session_id is not None:
            chosen = await self._sessions.named(params.session_id)
        elif params.bead is not None:
            chosen = await self._sessions.of_bead(params.bead)
        else:
            chosen = await self._sessions.all()
        async for progress in self._sessions.collect(chosen):
            yield progress

    async def _sweep(self) -> AsyncIterator[orders.CollectProgress]:
        """The source's own pass, now. What it finds are facts; entries come of them by the usual reactions."""
        found = await self._parts.sweep.step()
        yield orders.CollectProgress(phase="sweep", done=found, stored=found, finished=True)

    async def _add(self, params: orders.AddParams) -> AsyncIterator[orders.CollectProgress]:
        """File after file; a mistake in one of them ends it there, and what was added before stays."""
        before = orders.CollectProgress(phase="add")
        for number, path in enumerate(params.paths, start=1):
            progress = before
            files = self._parts.documents.add(Path(path), role=params.role, task=params.task, rig=params.rig)
            async for step in files:
                progress = added(before, step)
                yield progress.model_copy(update={"finished": step.finished and number == len(params.paths)})
            before = progress

    async def _in_turn(
        self, kind: str, items: AsyncIterator[orders.CollectProgress]
    ) -> AsyncIterator[orders.CollectProgress]:
        async with self._turns.setdefault(kind, asyncio.Lock()), aclosing(_told(items)) as told:
            async for item in told:
                yield item


class SafetyOrders:
    """The verbs that keep the corpus safe."""

    def __init__(self, audit: Audit, review: Review) -> None:
        self._audit = audit
        self._review = review

    def register(self, server: ControlServer) -> None:
        server.verb("corpus.audit", orders.AuditParams, self.audit)
        server.verb("corpus.doubts", orders.DoubtsParams, self.doubts)
        server.verb("corpus.look", orders.DoubtParams, self.look, timeout_s=LOOK_S)
        server.verb("corpus.restore", orders.VerdictParams, self.restore, timeout_s=LONG_S)
        server.verb("corpus.keep", orders.VerdictParams, self.keep)
        server.verb("corpus.purge", orders.PurgeParams, self.purge, timeout_s=LONG_S)

    def audit(self, params: orders.AuditParams) -> AsyncIterator[orders.AuditProgress]:
        return _told(self._audit.run(only_old=not params.all))

    async def doubts(self, params: orders.DoubtsParams) -> orders.DoubtsResult:
        return orders.DoubtsResult(doubts=tuple(await self._review.doubts(params.limit)))

    async def look(self, params: orders.DoubtParams) -> orders.Looked:
        """The value goes to the terminal of who asked, and nowhere else."""
        return await self._review.look(params.digest)

    async def restore(self, params: orders.VerdictParams) -> wire.ChangedResult:
        restored = await self._review.restore(params.digest, by=params.by)
        told = "; ".join(["passes from now on", *(why for kind, why in _RETURNS.items() if kind in restored.kinds)])
        return wire.ChangedResult(changed=(restored.doubt.placeholder,), detail=told)

    async def keep(self, params: orders.VerdictParams) -> wire.ChangedResult:
        doubt = await self._review.keep(params.digest, by=params.by)
        return wire.ChangedResult(changed=(doubt.placeholder,), detail="stays redacted, and is asked about no more")

    async def purge(self, params: orders.PurgeParams) -> orders.PurgeResult:
        snapshots = await self._audit.purge(params.entry_id, params.reason, by=params.by)
        return orders.PurgeResult(entry_id=params.entry_id, tainted_snapshots=tuple(snapshots))


async def _told(items: AsyncIterator[P]) -> AsyncGenerator[P, None]:
    """Not every step, but the last."""
    told = float("-inf")
    async with aclosing(_whole_steps(items)) as steps:
        async for item in steps:
            if item.finished or time.monotonic() - told >= EVERY_S:
                told = time.monotonic()
                yield item


async def _whole_steps(items: AsyncIterator[P]) -> AsyncGenerator[P, None]:
    """Whoever hangs up ends the order between two steps, not within one."""
    try:
        while (item := await _step(items)) is not None:
            yield item
    finally:
        if inspect.isasyncgen(items):
            await items.aclose()


async def _step(items: AsyncIterator[P]) -> P | None:
    step = asyncio.ensure_future(anext(items, None))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait({step}, timeout=STEP_S)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        raise


def _path(named: str | None) -> Path | None:
    return None if named is None else Path(named)
