"""What the words tell of an emotion: the polarity of each sentence, by VADER's lexicon and rules.

Hutto and Gilbert (2014), "VADER: A parsimonious rule-based model for sentiment analysis of social
media text" (ICWSM). It knows how good or bad a word is, and what "not", "very" and "but" do to it;
which bad feeling it is, anger or sadness, is told from a few words of our own.
"""

from __future__ import annotations

import re
from typing import Any

from turnlab.emotions.judgement import ANGRY, HAPPY, NEUTRAL, SAD, UNHAPPY, Judgement, judged

_MOST_CHARACTERS = 4000
"""Of a longer transcript the end counts; some five minutes of speech."""

_LONGEST = 400
"""Characters of a sentence: the rules look at each word's neighbours by searching the sentence."""

_LEAST = 0.05
"""Polarity below which a sentence is neutral, by the lexicon's authors."""

_GAIN = 1.5
"""From VADER's compound to how decided it is: one plain word, such as "terrible", makes 0.48."""

_ASKED = 0.5
"""What a question counts: "How do I make a good cup of tea?" tells no feeling."""

_NO_FEELING = frozenset({"help", "like", "no", "ok", "okay", "please", "sure", "well", "yes"})
"""Words of the lexicon that requests are made of; "I would like some help, please" is not joy."""

_SENTENCE = re.compile(rf"[^.!?]{{1,{_LONGEST}}}[.!?]*")

_ANGER = re.compile(
    r"\b(ang(er|ry|rily)|annoy\w*|bloody|cheat\w*|complain\w*|damn\w*|disgust\w*|enrag\w*|fed up"
    r"|furious\w*|hat(e|ed|es|ing)|hell|how dare|idiot\w*|infuriat\w*|irritat\w*|liars?|lying|mad"
    r"|outrag\w*|ridiculous\w*|rude\w*|shut up|sick of|stop it|stupid\w*|unacceptable|useless)\b",
    re.IGNORECASE,
)

_SADNESS = re.compile(
    r"\b(alone|broke up|cr(y|ied|ies|ying)|depress\w*|despair\w*|die[ds]?|disappoint\w*|dying|empty"
    r"|funeral|gone|grie(f|v\w*)|heartbr\w*|hopeless\w*|hurts?|lonel\w*|los(e|es|ing|s|t)|miser\w*"
    r"|miss(ed|ing)?|mourn\w*|passed away|sad\w*|sorrow\w*|tears?|tired|unhapp\w*|weep\w*)\b",
    re.IGNORECASE,
)


class Words:
    """Judges what was said. Loads the lexicon, which takes some 10 ms."""

    def __init__(self) -> None:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        analyzer: Any = SentimentIntensityAnalyzer()
        analyzer.lexicon = {
            word: valence for word, valence in analyzer.lexicon.items() if word not in _NO_FEELING
        }
        self._scores = analyzer.polarity_scores

    def judge(self, text: str) -> Judgement | None:
        """Happy, neutral, or of what is bad: angry, sad or just unhappy; None if nothing is said.

        The value is the mean of VADER's compound over the sentences that are not neutral, a
        question counting half, times `_GAIN`.
        """
        sentences = [s.strip() for s in _SENTENCE.findall(text[-_MOST_CHARACTERS:]) if s.strip()]
        if not sentences:
            return None
        polar = [p for p in map(self._polarity, sentences) if abs(p) >= _LEAST]
        mean = sum(polar) / len(polar) if polar else 0.0
        decided = min(1.0, _GAIN * abs(mean))
        said = " ".join(sentences)
        angry, sad = len(_ANGER.findall(said)), len(_SADNESS.findall(said))
        bad = (decided if mean < 0 else 0.0) / max(angry + sad, 1)
        return judged(
            {
                NEUTRAL: 1 - decided,
                HAPPY: decided if mean > 0 else 0.0,
                ANGRY: angry * bad,
                SAD: sad * bad,
                UNHAPPY: 0.0 if angry + sad else bad,
            }
        )

    def _polarity(self, sentence: str) -> float:
        compound = float(self._scores(sentence)["compound"])
        return compound * _ASKED if sentence.endswith("?") else compound
