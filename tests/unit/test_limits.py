"""Rates: a bucket for each key, of bounded number."""

from __future__ import annotations

import pytest

from turnlab.server.limits import TokenBuckets, site


def test_a_minutes_worth_at_once_then_as_they_come() -> None:
    now_s = [0.0]
    buckets = TokenBuckets(6, clock=lambda: now_s[0])
    assert [buckets.take("a") for _ in range(6)] == [0.0] * 6
    assert buckets.take("a") == pytest.approx(10.0)
    assert buckets.take("b") == 0.0  # others are not held up
    now_s[0] = 4.0
    assert buckets.take("a") == pytest.approx(6.0)  # what is refused takes nothing
    now_s[0] = 10.0
    assert buckets.wait_s("a") == 0.0
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == pytest.approx(10.0)
    now_s[0] = 3600.0
    assert [buckets.take("a") for _ in range(7)][-1] > 0


def test_a_look_takes_nothing() -> None:
    buckets = TokenBuckets(1, clock=lambda: 0.0)
    assert [buckets.wait_s("a") for _ in range(5)] == [0.0] * 5
    assert len(buckets) == 0


def test_those_silent_longest_are_forgotten() -> None:
    buckets = TokenBuckets(1, clock=lambda: 0.0, most=3)
    for key in "abcad":
        buckets.take(key)
    assert len(buckets) == 3
    assert buckets.wait_s("a") > 0
    assert buckets.wait_s("b") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "unix:", False),
    ],
)
def test_an_address_stands_for_whom_it_was_given(one: str, other: str, same: bool) -> None:
    assert (site(one) == site(other)) is same
