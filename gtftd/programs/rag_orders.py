"""What gtftctl may ask of the index: search, status, rebuild, and the short prime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from gtftd.control.server import ControlServer
from gtftd.errors import NotReady, Unreachable
from gtftd.programs.indexing import IndexKeeper, IndexLine
from gtftd.schemas import rag as wire
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.protocol import NoParams
from gtftd.schemas.settings import SettingsModel


class RagOrders:
    """Passed on to the process that owns the index."""

    def __init__(
        self,
        settings: SettingsModel,
        line: IndexLine,
        keeper: IndexKeeper,
        trained_at: Callable[[str, str | None], Awaitable[datetime | None]],
    ) -> None:
        """`trained_at` knows of the models that serve: of a role, in a rig."""
        self._trained_at = trained_at
        self._settings = settings
        self._line = line
        self._keeper = keeper

    def register(self, server: ControlServer) -> None:
        server.verb("rag.search", wire.SearchQuery, self.search)
        server.verb("rag.status", NoParams, self.status)
        server.verb("rag.rebuild", wire.RebuildParams, self.rebuild)
        server.verb("prime", wire.PrimeParams, self.prime)

    async def search(self, query: wire.SearchQuery) -> wire.SearchResult:
        return await self._line.search(query)

    async def status(self, _: NoParams) -> wire.RagStatus:
        keeper, line = self._keeper, self._line
        told = {"feeding": keeper.feeding, "fed_at": keeper.fed_at, "behind": keeper.is_behind}
        if not self._settings.rag.enabled:
            return wire.RagStatus(state="off", detail=line.broken)
        try:
            return wire.RagStatus(state="ready", index=await line.status(), **told)
        except (NotReady, Unreachable) as error:
            return wire.RagStatus(state="down" if line.broken else "starting", detail=str(error), **told)

    def rebuild(self, params: wire.RebuildParams) -> AsyncIterator[CollectProgress]:
        return self._keeper.rebuild(anew=params.anew)

    async def prime(self, params: wire.PrimeParams) -> wire.PrimeResult:
        """Raises NotReady where it is not known what the role's model has learned."""
        own = self._settings.prime
        trained_at = params.trained_at or own.trained_at.get(params.role)
        trained_at = trained_at or await self._trained_at(params.role, params.rig)
        if trained_at is None:
            raise NotReady(
                f"it is not known when the model of role {params.role} was trained: none of `gtftctl model list` "
                f"serves it, and prime.trained_at.{params.role} is not set"
            )
        limits = {"target_tokens": own.target_tokens, "most_tokens": own.most_tokens}
        tokenizer = str(own.tokenizer) if own.tokenizer else None
        return await self._line.prime(
            params.model_copy(update={"trained_at": trained_at, "tokenizer": tokenizer, **limits})
        )
