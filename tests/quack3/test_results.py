"""What a gateway holds of a result: what is not acknowledged, and no more than fits."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from azquack.errors import Refusal
from azquack.gateway.quack3 import results
from azquack.gateway.quack3.results import Result
from tests.quack3 import frames

REPLY: Any = None


def result(batches: int, patience: float = 60.0) -> Result:
    """A result of so many batches of one row."""
    left = iter(range(batches))

    async def fetch(reply: Any) -> list[bytes]:
        await asyncio.sleep(0)
        return [frames.chunk([each]) for each in itertools.islice(left, 1)]

    return Result(1, fetch, patience)


def rows(message: bytes) -> list[Any]:
    return frames.parse(message).rows


def test_whoever_asks_at_once_gets_each_batch_in_its_place() -> None:
    async def scene() -> None:
        held = result(5)
        found = await asyncio.gather(*(held.batch(index, REPLY) for index in (4, 1, 5, 2, 3, 2, 6)))
        assert [rows(each) for each in found] == [[(3,)], [(0,)], [(4,)], [(1,)], [(2,)], [(1,)], []]
        assert frames.parse(found[-1]).total == 5

    asyncio.run(scene())


def test_what_is_asked_for_beyond_the_room_waits_for_an_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "HELD", 3 * len(frames.chunk([1])))

    async def scene() -> None:
        held = result(50)
        asked = [asyncio.create_task(held.batch(index, REPLY)) for index in range(1, 9)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert (all(each.done() for each in asked), held.held < 2 * results.HELD) == (False, True)
        while not all(each.done() for each in asked):
            held.acknowledge(sum(each.done() for each in asked))
            await asyncio.sleep(0)
        assert [rows(each.result()) for each in asked] == [[(n,)] for n in range(8)]
        hasty = result(50, patience=0.02)
        with pytest.raises(Refusal, match="not acknowledged"):
            await asyncio.gather(*(hasty.batch(index, REPLY) for index in range(1, 9)))

    asyncio.run(scene())


def test_an_older_result_is_taken_from_its_connection_as_far_as_it_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        small = result(4)
        await small.settle(REPLY)
        assert [rows(await small.batch(index, REPLY)) for index in (1, 4, 5)] == [[(0,)], [(3,)], []]
        monkeypatch.setattr(results, "HELD", 3 * len(frames.chunk([1])))
        large = result(50)
        await large.settle(REPLY)
        assert (large.is_open, large.held) == (False, 0)
        with pytest.raises(Refusal, match="another statement of its transaction has ended it"):
            await large.batch(1, REPLY)

    asyncio.run(scene())
