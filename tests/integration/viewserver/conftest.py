"""A view server for each test, on a database of its own."""

from contextlib import AsyncExitStack

import pytest_asyncio

from tests.integration.viewserver.serving import serving


@pytest_asyncio.fixture
async def server(database_url, tmp_path):
    async with serving(database_url, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def cloud(server):
    """A view server that knows the cloud of tests.unit.viewserver.clouds."""
    await server.cloud()
    return server


@pytest_asyncio.fixture
async def replicas(database_url, tmp_path):
    """Two of them on one database, with the cloud in it."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(serving(database_url, tmp_path))
        two = await stack.enter_async_context(serving(database_url, tmp_path, admin_token=one.admin_token))
        await one.cloud()
        yield one, two
