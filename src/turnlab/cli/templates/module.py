"""The text of a new Module and of its test, for any kinds that it reads and makes.

What is written works as it stands: the reader replaces `make`, whose body is made of what the
kinds that are read say and of the simplest thing of the kind that is made.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence
from string import Template

SOUNDS = ("Audio", "Speech")

_SAYS = {
    "Audio": "{audio.duration_s:.1f} seconds of sound",
    "Caption": "{caption.text}",
    "Emotion": "{emotion.words}",
    "Image": "a picture of {len(image.data)} bytes",
    "Passages": "{passages.text}",
    "Reply": "{reply.text}",
    "Speech": "{speech.duration_s:.1f} seconds of speech",
    "Transcript": "{transcript.text}",
    "Value": "the value {value.value}",
}
"""What each kind says, as a part of an f-string."""

_TONE = """\
    rate, seconds = 16_000, min(0.2 + 0.05 * len(text), 5)
    moments = np.arange(int(seconds * rate)) / rate
    tone = 0.2 * np.sin(2 * np.pi * 440 * moments)
    return $kind(samples=tone.astype(np.float32), sample_rate=rate)
"""

_MADE = {
    "Audio": _TONE,
    "Caption": "    return Caption(text=text)\n",
    "Emotion": """\
    level, label = (0.5, "happy") if "thank" in text.lower() else (0.0, "neutral")
    return Emotion(values={"M": level}, labels={"M": label})
""",
    "Image": """\
    return Image(data=grey_pixel(len(text) % 256), media_type="image/png")


def grey_pixel(level: int) -> bytes:
    \"""A PNG of one pixel.\"""

    def part(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = part(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = part(b"IDAT", zlib.compress(bytes([0, level])))
    return b"\\x89PNG\\r\\n\\x1a\\n" + head + pixel + part(b"IEND", b"")
""",
    "Passages": """\
    return Passages(items=(Passage(text=text, source="$name", score=1.0),))
""",
    "Reply": "    return Reply(text=text)\n",
    "Speech": _TONE,
    "Transcript": "    return Transcript(text=text, final=True)\n",
    "Value": '    return Value(value={"words": len(text.split())})\n',
}
"""What makes each kind of `text`."""

_SAMPLES = {
    "Audio": "Audio(samples=np.zeros(8_000, np.float32), sample_rate=16_000)",
    "Caption": 'Caption(text="a cat on a table")',
    "Emotion": 'Emotion(values={"M": 0.5}, labels={"M": "happy"})',
    "Image": 'Image(data=b"a picture", media_type="image/png")',
    "Passages": 'Passages(items=(Passage(text="Cats purr.", source="cats.md", score=0.5),))',
    "Reply": 'Reply(text="Hello there.")',
    "Speech": "Speech(samples=np.zeros(8_000, np.float32), sample_rate=16_000)",
    "Transcript": 'Transcript(text="hello there", final=True)',
    "Value": "Value(value=1)",
}
"""Something of each kind for the test."""

KINDS = tuple(_SAYS)

_TAKEN = {*KINDS, "Chunk", "Context", "Inputs", "Module", "Passage"}

_MODULE = Template('''\
"""$name: reads $reads, makes $kind.

Parameters, models to load, what may be missing: docs/how-to/add-a-module.md.
"""

from __future__ import annotations

$standard

$packages$turnlab


class $class_name(Module):
    """Make $kind of $reads: say here what it does, for `turnlab modules show`."""

    task_name = "$name"
    consumes = ($consumes)
    produces = $kind

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
$whole
        if $absent:
            return
        with context.latency.model("$name"):
            # In a thread, so that `make` may take its time.
            made = await context.blocking(make, $given)
        yield made


def make($typed) -> $kind:
    """The work itself."""
$body''')

_TEST = Template('''\
"""What every Module must do, asked of $name: python -m pytest $folder"""

from pathlib import Path

$packages$turnlab


class Test$class_name(ModuleContract):
    module = find_modules([Path(__file__).parent]).get("$name")
    inputs = ($inputs)
''')


def module_text(name: str, reads: Sequence[str], kind: str) -> str:
    """A Module that performs `name`, reads the kinds `reads` and makes `kind`."""
    body = _body(name, reads, kind)
    variables = {each: each.lower() for each in reads}
    standard = ["from collections.abc import AsyncIterator"]
    standard[:0] = ["import struct", "import zlib"] if "struct." in body else []
    chunks = sorted({"Chunk", *reads, kind, *(["Passage"] if "Passage(" in body else [])})
    return _MODULE.substitute(
        name=name,
        class_name=class_name(name),
        kind=kind,
        reads=" and ".join(reads),
        consumes=", ".join(reads) + ("," if len(reads) == 1 else ""),
        standard="\n".join(standard),
        packages="import numpy as np\n\n" if "np." in body else "",
        turnlab=f"from turnlab.chunks import {', '.join(chunks)}\n"
        "from turnlab.modules.base import Context, Inputs, Module",
        whole="\n".join(
            f"        {variable} = await inputs.whole({each})"
            for each, variable in variables.items()
        ),
        absent=" or ".join(f"{variable} is None" for variable in variables.values()),
        given=", ".join(variables.values()),
        typed=", ".join(f"{variable}: {each}" for each, variable in variables.items()),
        body=body,
    )


def module_test(name: str, reads: Sequence[str], folder: str) -> str:
    """A pytest file that holds the Module `name` of `folder` to the contract."""
    inputs = [_SAMPLES[kind] for kind in reads]
    chunks = sorted({*reads, *(["Passage"] if "Passages" in reads else [])})
    return _TEST.substitute(
        name=name,
        class_name=class_name(name),
        folder=folder,
        packages="import numpy as np\n\n" if any("np." in each for each in inputs) else "",
        turnlab=f"from turnlab.chunks import {', '.join(chunks)}\n"
        "from turnlab.modules.registry import find_modules\n"
        "from turnlab.testing.contract import ModuleContract",
        inputs=f"{inputs[0]},"
        if len(inputs) == 1
        else "".join(f"\n        {each}," for each in inputs) + "\n    ",
    )


def class_name(name: str) -> str:
    """`hello_world` as `HelloWorld`; `HelloWorldModule` where the file needs that name itself."""
    made = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    return f"{made}Module" if made in _TAKEN or keyword.iskeyword(made) else made


def _body(name: str, reads: Sequence[str], kind: str) -> str:
    """The body of `make`: a sound of a sound and a picture of a picture, else one of words."""
    sound = next((each.lower() for each in reads if each in SOUNDS), None)
    if kind in SOUNDS and sound:
        return f"    return {kind}(samples={sound}.samples, sample_rate={sound}.sample_rate)\n"
    if kind == "Image" and "Image" in reads:
        return "    return Image(data=image.data, media_type=image.media_type)\n"
    said = " ".join(_SAYS[each] for each in reads)
    text = said[1:-1] if len(reads) == 1 and said.startswith("{") and ":" not in said else ""
    made = Template(_MADE[kind]).substitute(name=name, kind=kind)
    return f"    text = {text or 'f' + chr(34) + said + chr(34)}\n{made}"
