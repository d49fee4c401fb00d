"""How often the parts of the server are asked whether they answer."""

from __future__ import annotations

from query_api.health import FRESH_MILLISECONDS, HealthChecks


async def test_parts_are_asked_once_a_second_whatever_the_clock_is_set_to() -> None:
    now, asked = 1_795_262_400_000, 0

    async def ping() -> None:
        nonlocal asked
        asked += 1

    checks = HealthChecks({"part": ping}, lambda: now)
    counts = []
    for step in (0, FRESH_MILLISECONDS - 1, 1, -3_600_000, 1):
        now += step
        assert (await checks.read()).is_well
        counts.append(asked)
    assert counts == [1, 1, 2, 3, 3]


async def test_a_part_that_waits_is_well_and_says_what_it_waits_for() -> None:
    async def ping() -> str:
        return "waits"

    found = await HealthChecks({"jobs": ping}, lambda: 0).read()
    assert (dict(found.parts), found.is_well) == ({"jobs": "waits"}, True)
