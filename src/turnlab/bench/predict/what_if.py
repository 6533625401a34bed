"""Changes to predict with: `--set`, `--use`, `--workers`, `--network`, strictly parsed."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from turnlab.bench.predict.steps import Script, Step
from turnlab.errors import InvalidWhatIf

MEASURES = ("first_output", "model")
"""Seconds of work to the first Chunk, and of all work."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CALL = re.compile(r"(?P<name>[a-z]+)\(\s*(?P<numbers>[^()]*)\)")
_FACTOR = re.compile(rf"x\s*(?P<number>{_NUMBER})")
_SUM = re.compile(r"(?P<number>[+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>ms|s)?")
_DURATION = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)\s*(?P<unit>ms|s)?")

_LONGEST_S = 3_600.0
_HIGHEST = 1_000_000.0

Draw = Callable[[random.Random], float]


def _lognormal(median: float, sigma: float) -> Draw:
    return lambda chance: median * math.exp(chance.gauss(0.0, sigma))


def _normal(mean: float, deviation: float) -> Draw:
    return lambda chance: max(0.0, chance.gauss(mean, deviation))


def _uniform(low: float, high: float) -> Draw:
    if high < low:
        raise ValueError("the second must not be below the first")
    return lambda chance: chance.uniform(low, high)


def _gamma(mean: float, deviation: float) -> Draw:
    if mean <= 0 or deviation <= 0:
        raise ValueError("both must be above 0")
    shape = (mean / deviation) ** 2
    return lambda chance: chance.gammavariate(shape, mean / shape)


def _exponential(mean: float) -> Draw:
    if mean <= 0:
        raise ValueError("it must be above 0")
    return lambda chance: chance.expovariate(1 / mean)


def _constant(value: float) -> Draw:
    return lambda chance: value


_DISTRIBUTIONS: Mapping[str, tuple[Callable[..., Draw], tuple[str, ...]]] = {
    "lognormal": (_lognormal, ("median", "sigma of the logarithm")),
    "normal": (_normal, ("mean", "standard deviation")),
    "uniform": (_uniform, ("least", "most")),
    "gamma": (_gamma, ("mean", "standard deviation")),
    "exponential": (_exponential, ("mean",)),
    "constant": (_constant, ("value",)),
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be different about one Component's time."""

    component: str
    measure: str
    text: str
    """As it was written."""
    draw: Draw | None = None
    factor: float = 1.0
    more_s: float = 0.0

    @property
    def drawn(self) -> bool:
        """Whether turns that were measured alike may come out differently."""
        return self.draw is not None

    def __call__(self, component: str, script: Script, chance: random.Random) -> Script:
        """The script of a Component as it would be."""
        if component != self.component:
            return script
        steps = _first(script) if self.measure == "first_output" else script.steps
        now_s = sum(step.work_s for step in steps)
        wanted_s = self.draw(chance) if self.draw else max(0.0, now_s * self.factor + self.more_s)
        chosen = {id(step) for step in steps}
        return replace(
            script,
            steps=[
                replace(step, work_s=_share(step, now_s, wanted_s, len(steps)))
                if id(step) in chosen
                else step
                for step in script.steps
            ],
        )


def _share(step: Step, now_s: float, wanted_s: float, count: int) -> float:
    return step.work_s * wanted_s / now_s if now_s else wanted_s / count


def _first(script: Script) -> list[Step]:
    """The steps that its first Chunk takes, without what was done before its input was there."""
    for step in script.steps:
        if step.emits is not None or step.ends:
            return [step]
    return []


def parse_change(text: str, components: Collection[str]) -> Change:
    """`COMPONENT.first_output=lognormal(0.4, 0.25)`, `COMPONENT.model=x0.8` or `=+100ms`.

    Raises InvalidWhatIf that says what there is.
    """
    place, equals, value = text.partition("=")
    component, dot, measure = place.strip().rpartition(".")
    if not (equals and dot):
        raise InvalidWhatIf(f"{text[:80]!r} is no change; write it as COMPONENT.first_output=x0.5.")
    _known(component, components, "component")
    if measure not in MEASURES:
        raise InvalidWhatIf(
            f"{component} has no measure {measure[:40]!r} to change; there are "
            f"{' and '.join(MEASURES)}."
        )
    return replace(_parsed(value.strip(), text), component=component, measure=measure)


def _parsed(value: str, text: str) -> Change:
    about = Change(component="", measure="", text=text)
    if found := _FACTOR.fullmatch(value):
        return replace(about, factor=_within(float(found["number"]), 0.0, _HIGHEST, text))
    if found := _SUM.fullmatch(value):
        seconds = float(found["number"]) / (1_000 if found["unit"] == "ms" else 1)
        return replace(about, more_s=_within(seconds, -_LONGEST_S, _LONGEST_S, text))
    if found := _CALL.fullmatch(value):
        return replace(about, draw=_distribution(found["name"], found["numbers"], text))
    if found := _DURATION.fullmatch(value):
        return replace(about, draw=_constant(parse_seconds(value)))
    raise InvalidWhatIf(
        f"{text[:80]!r}: write a factor (x0.8), more or less (+0.1, -50ms), a duration (0.4), or "
        f"one of {', '.join(_DISTRIBUTIONS)} with numbers in seconds, as lognormal(0.4, 0.25)."
    )


def _distribution(name: str, numbers: str, text: str) -> Draw:
    if name not in _DISTRIBUTIONS:
        raise InvalidWhatIf(
            f"{text[:80]!r} names no distribution that there is: {', '.join(_DISTRIBUTIONS)}."
        )
    make, meanings = _DISTRIBUTIONS[name]
    given = [part.strip() for part in numbers.split(",")]
    if wrong := [part for part in given if part and not re.fullmatch(_NUMBER, part)]:
        raise InvalidWhatIf(f"{text[:80]!r}: {wrong[0][:40]!r} is no number of seconds.")
    if len(given) != len(meanings) or not all(given):
        raise InvalidWhatIf(f"{text[:80]!r}: {name} takes {len(meanings)}: {', '.join(meanings)}.")
    values = [_within(float(part), 0.0, _LONGEST_S, text) for part in given]
    try:
        return make(*values)
    except ValueError as error:
        raise InvalidWhatIf(f"{text[:80]!r}: {error}.") from None


def _within(value: float, low: float, high: float, text: str) -> float:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidWhatIf(f"{text[:80]!r}: {value:g} is not between {low:g} and {high:g}.")
    return value


def parse_seconds(text: str) -> float:
    """`40ms`, `0.04s` or `0.04` in seconds. Raises InvalidWhatIf."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidWhatIf(f"{text[:40]!r} is no duration; write 40ms or 0.04s.")
    seconds = float(found["number"]) / (1_000 if found["unit"] == "ms" else 1)
    return _within(seconds, 0.0, _LONGEST_S, text)


def parse_workers(texts: Iterable[str], components: Collection[str]) -> dict[str, int]:
    """`speech2text=2,quantization_llm=4` by Component. Raises InvalidWhatIf."""
    found: dict[str, int] = {}
    for part in (part.strip() for text in texts for part in text.split(",") if part.strip()):
        name, equals, count = part.partition("=")
        if not equals or not re.fullmatch(r"\d{1,4}", count.strip()) or int(count) < 1:
            raise InvalidWhatIf(f"{part[:80]!r} is no number of workers; write speech2text=2.")
        found[_known(name.strip(), components, "component")] = int(count)
    return found


@dataclass(frozen=True, kw_only=True)
class Use:
    """Another Component's measurements for one of this Cluster."""

    component: str
    run_id: str
    cluster: str
    measured_as: str


def parse_use(text: str, components: Collection[str]) -> Use:
    """`COMPONENT=RUN:CLUSTER[:COMPONENT]`. Raises InvalidWhatIf."""
    component, equals, place = text.partition("=")
    parts = place.strip().split(":")
    if not equals or len(parts) not in (2, 3) or not all(parts):
        raise InvalidWhatIf(f"{text[:80]!r} names no measurements; write COMPONENT=RUN:CLUSTER.")
    name = _known(component.strip(), components, "component")
    measured_as = parts[2] if len(parts) == 3 else name
    return Use(component=name, run_id=parts[0], cluster=parts[1], measured_as=measured_as)


def _known(name: str, there: Collection[str], what: str) -> str:
    if name in there:
        return name
    near = get_close_matches(name, list(there), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there)}."
    raise InvalidWhatIf(f"The Cluster has no {what} {name[:60]!r}; {hint}")
