"""Long orders: told sparingly, ended between two steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gtftd.programs.corpus_orders import _told
from gtftd.schemas.corpus_orders import CollectProgress


async def steps(count: int) -> AsyncIterator[CollectProgress]:
    for number in range(count):
        yield CollectProgress(phase="x", done=number)
    yield CollectProgress(phase="x", done=count, finished=True)


async def test_not_every_step_is_told_but_the_last() -> None:
    """Ten thousand steps are some lines."""
    told = [item async for item in _told(steps(10_000))]
    assert (10_000, True) == (told[-1].done, told[-1].finished)
    assert 0 == told[0].done
    assert len(told) < 1000


async def test_who_hangs_up_ends_the_order_between_two_steps() -> None:
    """The step that has begun is finished, the next one never begins, and what the order holds is let go."""
    began, go = asyncio.Event(), asyncio.Event()
    did: list[str] = []

    async def order() -> AsyncIterator[CollectProgress]:
        try:
            began.set()
            await go.wait()
            did.append("first")
            yield CollectProgress(phase="x", done=1)
            did.append("second")
        finally:
            did.append("let go")

    async def follow() -> None:
        async for _ in _told(order()):
            pass

    follower = asyncio.create_task(follow())
    await began.wait()
    follower.cancel()
    asyncio.get_running_loop().call_later(0.05, go.set)
    with pytest.raises(asyncio.CancelledError):
        await follower
    assert ["first", "let go"] == did


async def test_a_failing_step_is_the_caller_s_to_see() -> None:
    async def order() -> AsyncIterator[CollectProgress]:
        yield CollectProgress(phase="x")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        [item async for item in _told(order())]
