"""Sample questions that the local voice speaks, so that a demo needs no recording of anybody."""

from __future__ import annotations

from pathlib import Path

import soundfile

from turnlab.modules.text2speech import Text2Speech

QUESTIONS = (
    "What is the capital of France?",
    "How do I make a good cup of tea?",
    "Why is the sky blue?",
    "What should I cook for dinner tonight?",
    "Can you tell me something about dogs?",
    "How far away is the moon?",
    "What is a good way to fall asleep?",
    "Which animals live in the ocean?",
    "How can I learn to play the guitar?",
    "What do you like about music?",
    "Where do penguins live?",
    "How does a bicycle stay upright?",
)


def make_questions(folder: Path, count: int = 5) -> list[Path]:
    """The first `count` questions as WAV files in `folder`, made where they are missing.

    Raises MissingModel if the voice is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(folder / f"{_slug(text)}.wav", text) for text in QUESTIONS[:count]]
    if any(not path.exists() for path, _ in wanted):
        module = Text2Speech(Text2Speech.Params())
        module.load()
        for path, text in wanted:
            samples, rate = module.speak(text, module.params)
            unfinished = path.with_suffix(".part")
            soundfile.write(unfinished, samples, rate, subtype="PCM_16", format="WAV")
            unfinished.replace(path)
        module.close()
    return [path for path, _ in wanted]


def _slug(text: str) -> str:
    return "-".join(word.strip("?.,").lower() for word in text.split())
