"""How often: requests of a token, and wrong tokens or passwords of an address.

Counted in memory by each process, for at most ten thousand of each at once; of more, those that
were silent longest are forgotten.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock

from turnlab.errors import TooManyRequests
from turnlab.server.config import config
from turnlab.server.roles import Principal

MOST_REMEMBERED = 10_000

_IPV6_SITE = 64
"""Bits of an IPv6 address that tell who it is: the rest one chooses oneself (RFC 4291, 2.5.4)."""


class Exceeded(TooManyRequests):
    """More than the rate allows; wait as long as Retry-After says."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """Seconds until the next one is allowed."""


class TokenBuckets:
    """A bucket for each key that fills at `per_minute` and holds a minute's worth. Thread-safe."""

    def __init__(
        self,
        per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._most = most
        self._lock = Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, at_s

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: str) -> float:
        """Seconds until `key` may take one; 0: now. Takes nothing."""
        with self._lock:
            return self._lacks_s(self._left(key, self._clock()))

    def take(self, key: str) -> float:
        """Take one and return 0, or take nothing and return the seconds to wait."""
        with self._lock:
            now_s = self._clock()
            left = self._left(key, now_s)
            lacks_s = self._lacks_s(left)
            self._buckets[key] = (left if lacks_s else left - 1.0, now_s)
            self._buckets.move_to_end(key)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return lacks_s

    def _left(self, key: str, now_s: float) -> float:
        left, at_s = self._buckets.get(key, (float(self._per_minute), now_s))
        return min(self._per_minute, left + (now_s - at_s) * self._per_minute / 60.0)

    def _lacks_s(self, left: float) -> float:
        return max(0.0, (1.0 - left) * 60.0 / self._per_minute)


@cache
def _requests() -> TokenBuckets:
    return TokenBuckets(config().requests_per_minute)


@cache
def _failures() -> TokenBuckets:
    return TokenBuckets(config().failures_per_minute)


def count_request(principal: Principal) -> None:
    """Count a request of the token, or of the person without one. Raises Exceeded."""
    wait_s = _requests().take(principal.token_id or f"user {principal.owner}")
    if wait_s:
        most = config().requests_per_minute
        raise Exceeded(f"More than {most} requests a minute; wait {wait_s:.1f} s.", wait_s)


def count_wrong_token(address: str) -> None:
    """Count a wrong token from `address`. Raises Exceeded if it is one too many.

    Nobody guesses 256 bits, so right ones of the same address are taken all the same: others
    may be behind it. They are counted apart from passwords, for their sake too.
    """
    _refuse(_failures().take(f"token {site(address)}"))


def count_failure(address: str) -> None:
    """Count a wrong password from `address`. Raises Exceeded if it is one too many."""
    _refuse(_failures().take(site(address)))


def check_failures(address: str) -> None:
    """Raise Exceeded if `address` has sent too many wrong passwords; counts nothing."""
    _refuse(_failures().wait_s(site(address)))


def _refuse(wait_s: float) -> None:
    if wait_s:
        raise Exceeded(f"Too many wrong tokens or passwords; wait {wait_s:.0f} s.", wait_s)


def site(address: str) -> str:
    """What stands for an address: itself, of IPv6 the network that its owner was given."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:  # a socket of the file system, or nothing
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ip_network((found, _IPV6_SITE), strict=False))
    return str(found)
