"""What becomes of a limit: the outcome, and the sentence that tells it with what it is based on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from turnlab.bench.measuring.metrics import Estimate


class Outcome(StrEnum):
    """Pass, fail, or too few turns to tell."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


WORDS = {
    Outcome.PASS: "Acceptable",
    Outcome.FAIL: "Not acceptable",
    Outcome.UNDECIDED: "Too few turns to tell",
}
"""How a sentence on each outcome begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is found out about one limit."""

    outcome: Outcome
    estimate: Estimate
    """Its interval is the one that the outcome follows from."""
    facts: str
    """What is so, as the middle of a sentence."""
    turns: int
    """How many turns it follows from, failed ones with them where they count."""
    within: int | None = None
    """How many of them are within the limit, for limits that each turn can keep."""
    more_turns: int | None = None
    """About how many more would decide it; None if it is decided, or if none would help."""
    barred: str = ""
    """Why no number of turns would decide it, where that is known."""

    @property
    def sentence(self) -> str:
        """All of it, in plain words."""
        told = f"{WORDS[self.outcome]}: {self.facts}"
        if self.outcome is not Outcome.UNDECIDED:
            return f"{told}."
        if self.estimate.value is None:
            return f"Undecided: {self.facts}."
        if self.barred:
            return f"Undecided: {self.facts}; {self.barred}."
        if self.more_turns is None:
            return f"{told}; no number of such turns would tell."
        if self.within == self.turns:
            return f"{told}; {self.more_turns} more different turns within it would prove it."
        return f"{told}; about {self.more_turns} more different turns such as these would tell."


def absent(why: str, turns: int = 0) -> Finding:
    """Nothing was measured: never a pass."""
    nothing = Estimate(None, why_absent=why)
    return Finding(outcome=Outcome.UNDECIDED, estimate=nothing, facts=why, turns=turns)
