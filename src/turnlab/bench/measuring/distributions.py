"""The distribution functions that intervals need, without SciPy: beta, Student's t, normal."""

from __future__ import annotations

import math

_STEPS = 500
_TINY = 1e-300
_CLOSE = 3e-16


def normal_cdf(x: float) -> float:
    """The chance that a standard normal variable is at most `x`."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a and b above 0.

    The continued fraction of Abramowitz and Stegun 26.5.8, evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges quickly
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    value = ratio = 1 / _away(1 - (a + b) * x / (a + 1))
    above = 1.0
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            ratio = 1 / _away(1 + term * ratio)
            above = _away(1 + term / above)
            value *= above * ratio
        if abs(above * ratio - 1) < _CLOSE:
            break
    return value


def _away(value: float) -> float:
    """`value`, kept from being 0, by which the fraction divides."""
    return value if abs(value) > _TINY else _TINY


def beta_quantile(p: float, a: float, b: float) -> float:
    """The `x` below which a beta variable falls with chance `p`.

    Newton's method, kept within what is known to hold the answer, else halving that.
    """
    low, high = 0.0, 1.0
    x = a / (a + b)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(_STEPS):
        off = beta_cdf(x, a, b) - p
        low, high = (x, high) if off < 0 else (low, x)
        density = math.exp(scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))
        near = x - off / density if density > 0 else low
        if not low < near < high:
            near = (low + high) / 2
        if near in (low, high) or abs(near - x) <= _CLOSE * x:
            return near
        x = near
    return x


def t_quantile(p: float, freedom: float) -> float:
    """The value below which Student's t with `freedom` degrees of freedom falls with chance `p`."""
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    x = beta_quantile(2 * (1 - p), freedom / 2, 0.5)
    return math.inf if x <= 0 else math.sqrt(freedom * (1 - x) / x)
