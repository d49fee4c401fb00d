"""How much a sender may send."""

from __future__ import annotations

from ingest.rates import MAX_SENDERS, Rates

NOW = 1_790_000_000_000


def test_ten_seconds_worth_may_come_at_once_and_then_the_rate() -> None:
    rates = Rates[str](5)
    assert all(rates.wait_for("a", 1, NOW) == 0 for _ in range(50))
    assert rates.wait_for("a", 1, NOW) == 200
    assert rates.wait_for("b", 1, NOW) == 0
    assert rates.wait_for("a", 1, NOW + 199) > 0
    assert rates.wait_for("a", 1, NOW + 200) == 0
    assert rates.wait_for("a", 1, NOW + 200) == 200


def test_over_a_long_time_the_rate_holds() -> None:
    rates = Rates[str](7)
    taken = sum(rates.wait_for("a", 1, NOW + at) == 0 for at in range(0, 100_000, 10))
    assert 70 + 695 <= taken <= 70 + 701


def test_refused_records_take_nothing() -> None:
    rates = Rates[str](1)
    assert rates.wait_for("a", 6, NOW) == 0
    assert rates.wait_for("a", 6, NOW) == 2000
    assert rates.wait_for("a", 4, NOW) == 0


def test_a_request_of_more_than_a_burst_passes_once_and_is_paid_off() -> None:
    rates = Rates[str](10)
    assert rates.wait_for("a", 1000, NOW) == 0
    assert rates.wait_for("a", 1, NOW) == 90_100
    assert rates.wait_for("a", 1, NOW + 60_000) == 30_100  # remembered over several generations
    assert rates.wait_for("a", 1, NOW + 90_100) == 0


def test_no_limit_is_no_limit() -> None:
    rates = Rates[int](0)
    assert rates.wait_for(1, 10**9, NOW) == rates.wait_for(1, 1, NOW) == 0


def test_any_number_of_senders_takes_bounded_memory() -> None:
    rates = Rates[int](1)
    for sender in range(3 * MAX_SENDERS):
        rates.wait_for(sender, 100, NOW)
    assert len(rates._busy_until) + len(rates._before) <= 2 * MAX_SENDERS  # noqa: SLF001 - the bound itself
    assert rates.wait_for(3 * MAX_SENDERS - 1, 1, NOW) > 0  # the latest are not forgotten


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    rates = Rates[str](5)
    for second in range(15):  # over two generations
        assert rates.wait_for("a", 5, NOW + second * 1000) == 0
    back = NOW - 3_600_000
    assert rates.wait_for("a", 50, back) == 0
    assert rates.wait_for("a", 1, back) == 200  # and the limit holds from there
