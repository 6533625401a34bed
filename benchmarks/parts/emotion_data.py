"""What `emotion_accuracy` judges, and what it is held to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.parts.workers import ROOT
from turnlab.audio import RATE
from turnlab.chunks import Samples

OWN_FACES = ROOT / "tests" / "data" / "emotion"

SENTENCES = {
    "angry": (
        "This is the third time you get my order wrong!",
        "I am furious, and nobody even says sorry.",
        "Stop interrupting me, that is so rude.",
        "You lied to me again.",
        "I hate waiting in this stupid queue.",
        "How dare you speak to me like that?",
        "That is completely unacceptable.",
        "I am fed up with this useless machine.",
        "Who the hell broke my bicycle?",
        "They cheated me out of my money.",
        "Your service is a disgrace.",
        "I have told you ten times already, listen to me!",
        "This noise drives me mad.",
        "What an idiot, he nearly hit me with his car!",
        "I want to complain about this terrible hotel.",
    ),
    "sad": (
        "My grandmother passed away last week.",
        "I feel so lonely since I moved here.",
        "I lost my job today, and I do not know what to do.",
        "Nobody came to my birthday.",
        "I miss my brother very much.",
        "Everything seems so hopeless lately.",
        "She left me, and my heart is broken.",
        "I could cry the whole day.",
        "My cat is very ill, and the vet cannot help her.",
        "I failed the exam again.",
        "There is nothing left for me to look forward to.",
        "It hurts to see the empty room.",
        "I am so tired of being alone.",
        "Our team lost, what a disappointment.",
        "I never got to say goodbye to him.",
    ),
    "neutral": (
        "What time does the library open on Monday?",
        "The train leaves from platform four.",
        "Please set a timer for ten minutes.",
        "How many litres are in a gallon?",
        "I am going to the shop to buy some bread.",
        "Can you tell me the way to the station?",
        "The meeting is in the second room on the left.",
        "What is the capital of Portugal?",
        "My phone number ends with three seven.",
        "Turn on the light in the kitchen.",
        "It is twelve degrees outside.",
        "Which bus goes to the airport?",
        "I would like to book a table for two.",
        "Remind me to water the plants tomorrow.",
        "How long do I have to boil an egg?",
    ),
    "happy": (
        "I got the job, I can hardly believe it!",
        "We are getting married in June!",
        "This is the best day of my life.",
        "I passed the exam with top marks!",
        "Thank you so much, you made my day.",
        "What a beautiful morning!",
        "My daughter took her first steps today.",
        "I love this song, it makes me want to dance.",
        "We won the match, it was amazing!",
        "I am so glad that you are here.",
        "The holiday was wonderful, we laughed so much.",
        "Hooray, the sun is shining at last!",
        "I am really looking forward to the weekend.",
        "That is great news, congratulations!",
        "Our baby was born last night, and everybody is well.",
    ),
}
"""Written for this, before the method was run on them."""

CLIPS = {
    "angry": (
        *("Bugger", "Cutitout", "Gonnagetyou", "Illgetyou", "Justyouwait", "Leavemealone"),
        *("Nutter", "Revenge", "Sameteam", "Stupid", "Traitor", "Watchit", "Youllregretthat"),
    ),
    "sad": ("Boring", "Byebye", "Missed", "Ohdear", "Solong"),
    "neutral": ("Hello", "Hmm", "Reinforcements", "Yessir"),
    "happy": ("Amazing", "Brilliant", "Excellent", "Flawless", "Victory"),
}
"""What Hedgewars' hedgehogs say, by its name: threats and protests, resignation, plain answers,
triumph. Sorted by the names alone, before anything was heard or measured."""

TRIED = ("Default_es", "Default_pl", "Default_ru", "Default_uk", "Russian", "Russian_pl")
"""Voices that the method was tried out on while it was written."""

HELD_OUT = ("British", "Classic", "Default", "HillBilly", "Mobster", "Pirate", "Surfer")
"""Voices that it was not. A robot and a singer are left out."""

PICTURES = {"happy": "happy_face_*.jpg", "sad": "sad_face_*.jpg"}
OWN_PICTURES = {"happy": "smiling-*.jpg", "neutral": "serious.jpg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One acted utterance."""

    speaker: str
    label: str
    path: Path


def clips(folder: Path, speakers: tuple[str, ...]) -> Iterator[Clip]:
    """Those that there are of these speakers."""
    for speaker in speakers:
        for label, names in CLIPS.items():
            paths = (folder / speaker / f"{name}.ogg" for name in names)
            yield from (
                Clip(speaker=speaker, label=label, path=path) for path in paths if path.exists()
            )


def pictures(folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Label and path of each picture, our own ones first."""
    places = [(OWN_FACES, OWN_PICTURES), *([(folder, PICTURES)] if folder else [])]
    for place, patterns in places:
        for label, pattern in patterns.items():
            yield from ((label, path) for path in sorted(place.glob(pattern)))


def samples(path: Path) -> Samples:
    """A recording, mono at 16 kHz."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Samples = soxr.resample(sound.mean(axis=1), rate, RATE).astype(np.float32)
    return mono
