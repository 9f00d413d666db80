import asyncio

import uvloop


async def test_the_data_plane_is_tested_on_the_loop_that_it_is_served_by() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
