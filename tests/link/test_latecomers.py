"""Commits that came too late go on one after another."""

from __future__ import annotations

import asyncio

import pytest

from azquack.catalog.link import commits
from azquack.catalog.link.commits import Latecomers


async def begun(late: Latecomers, count: int) -> list[asyncio.Task[None]]:
    """So many latecomers that wait for their turn, in order."""
    tasks = [asyncio.create_task(late.turn()) for _ in range(count)]
    await settled()
    return tasks


async def settled() -> None:
    """Every task that can run has run."""
    for _ in range(3):
        await asyncio.sleep(0)


def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [each.done() for each in tasks]


def test_each_commit_lets_one_more_go() -> None:
    async def scene() -> None:
        late = Latecomers()
        tasks = await begun(late, 3)
        assert done(tasks) == [True, False, False]
        late.go_on()
        await settled()
        assert done(tasks) == [True, True, False]
        late.go_on()
        await settled()
        assert done(tasks) == [True, True, True]
        late.go_on()
        # Nobody is out any more: the next one need not wait.
        assert done(await begun(late, 1)) == [True]

    asyncio.run(scene())


def test_one_that_does_not_come_back_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "HEAD_START", 0.01)

    async def scene() -> None:
        tasks = await begun(Latecomers(), 4)
        await asyncio.wait_for(asyncio.gather(*tasks), 5)

    asyncio.run(scene())


def test_one_that_has_left_is_passed_over() -> None:
    async def scene() -> None:
        late = Latecomers()
        first, second, third = await begun(late, 3)
        second.cancel()
        await settled()
        late.go_on()
        await settled()
        assert done([first, third]) == [True, True]

    asyncio.run(scene())
