"""Waiters: woken by their own key, or by the end; never missed, never left behind."""

import asyncio

from viewserver.waiting import Waiting, until


async def test_a_key_wakes_its_own_waiters_and_nobody_elses():
    waiting = Waiting()
    with waiting.ticket("a") as one, waiting.ticket("a") as two, waiting.ticket("b") as other:
        waiting.wake(["a", "nobody"])
        assert await until(one, 10)
        assert await until(two, 10)
        assert not await until(other, 0)
        assert (waiting.woken, len(waiting), waiting.held("a")) == (2, 1, 0), "a waiter is woken once"
        waiting.wake(["a"])
        assert waiting.woken == 2
    assert len(waiting) == 0


async def test_a_change_between_registering_and_waiting_is_not_missed():
    waiting = Waiting()
    with waiting.ticket("a") as ticket:
        waiting.wake(["a"])
        assert await until(ticket, 0)


async def test_a_waiter_that_is_cancelled_is_taken_out():
    waiting = Waiting()

    async def wait():
        with waiting.ticket("a") as ticket:
            await until(ticket, 1000)

    tasks = [asyncio.ensure_future(wait()) for _ in range(3)]
    while len(waiting) < 3:
        await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert len(waiting) == 2
    waiting.close()
    await asyncio.gather(tasks[0], tasks[2])
    assert len(waiting) == 0


async def test_after_the_end_nobody_waits():
    waiting = Waiting()
    waiting.close()
    with waiting.ticket("a") as ticket:
        assert await until(ticket, 1000)
    assert waiting.closed
