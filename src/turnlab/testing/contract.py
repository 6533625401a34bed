"""What any Module must do: subclass `ModuleContract` in a pytest suite and say which Module.

```python
class TestShout(ModuleContract):
    module = Shout
    inputs = (Reply(text="Hello "), Reply(text="there."))
```
"""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from turnlab.chunks import Chunk, Sound
from turnlab.clock import MonotonicClock
from turnlab.conversations import Conversation
from turnlab.errors import InvalidParams
from turnlab.modules.base import Exchange, Module
from turnlab.tasks import Task, TaskStatus
from turnlab.testing.rig import Rig
from turnlab.tracks import Mode, TrackStatus
from turnlab.turn_result import TurnResult
from turnlab.work import Observer

HEAVY = (
    *("jax", "tensorflow", "torch", "torchaudio", "torchvision", "transformers"),
    *("ctranslate2", "llama_cpp", "onnxruntime", "xllamacpp"),
    *("cv2", "faster_whisper", "moonshine_voice", "openai", "piper", "pypdf", "rapidocr"),
    *("ai_edge_litert", "sentence_transformers", "sklearn", "tokenizers", "vaderSentiment"),
    "websockets",
)
"""Libraries that only `load` may import."""

_MEASURED = ("model_", "transfer_", "wait_")
"""What the keys of a latency_profile begin with that a Module makes itself."""

_IMPORTED = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("module_under_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
found = getattr(module, sys.argv[2], None)
if found is not None:
    found.missing(found.check_params(json.loads(sys.argv[3])))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


class ModuleContract:
    """Tests that any Module must pass."""

    module: ClassVar[type[Module]]
    params: ClassVar[Mapping[str, Any]] = {}
    inputs: ClassVar[tuple[Chunk, ...]]
    """Pieces of what it reads, in the order in which they arrive."""
    history: ClassVar[tuple[Exchange, ...]] = ()
    deterministic: ClassVar[bool] = True
    """Whether equal input gives an equal result; False for a voice with random variation."""
    heavy: ClassVar[Collection[str]] = HEAVY
    stop_within_s: ClassVar[float] = 2.0
    """How soon a cancelled Task must be gone. Generous: it has to hold on a busy machine."""

    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls) -> Rig:
        """The Module on the real clock, loaded once for all tests of the class."""
        rig = _rig(cls.module, cls.params, cls.inputs)
        if missing := cls.module.missing(rig.plan.steps[0].params):
            pytest.skip("; ".join(missing))
        return rig

    def test_it_declares_what_it_reads_and_makes(self) -> None:
        """The kinds are Chunk classes, `run` is its own, and it says what it is for."""
        assert self.module.task_name.isidentifier()
        assert all(issubclass(kind, Chunk) for kind in self.module.consumes + self.module.uses)
        assert issubclass(self.module.produces, Chunk)
        assert self.module.produces is not Chunk
        assert inspect.isasyncgenfunction(self.module.run)
        assert self.module.__doc__, "a docstring tells users what the Module does"
        given = {type(chunk) for chunk in self.inputs}
        assert set(self.module.consumes) <= given, "`inputs` must hold all that it consumes"

    def test_it_refuses_a_parameter_that_it_does_not_have(self) -> None:
        """A misspelt parameter is an error that names the nearest one."""
        names = list(self.module.Params.model_fields)
        misspelt = f"{names[0]}_" if names else "nonsense"
        with pytest.raises(InvalidParams) as caught:
            self.module.check_params({misspelt: 1})
        assert misspelt in caught.value.message
        assert not names or repr(names[0]) in caught.value.message

    def test_its_parameters_can_be_recorded(self) -> None:
        """They survive a round trip through JSON."""
        params = self.module.check_params(self.params)
        values = json.loads(json.dumps(params.model_dump(mode="json"), allow_nan=False))
        assert self.module.check_params(values) == params

    def test_importing_it_imports_nothing_heavy(self) -> None:
        """Nor does asking what is missing: the API end starts without its libraries."""
        imported = _imported(self.module, self.params)
        assert not imported & set(self.heavy), "import it inside load()"

    def test_it_says_what_is_missing(self) -> None:
        """In words, one string for each thing to install or give."""
        missing = self.module.missing(self.module.check_params(self.params))
        assert isinstance(missing, list)
        assert all(isinstance(what, str) and what for what in missing)

    def test_it_makes_its_kind_and_ends_when_its_input_ends(self, rig: Rig) -> None:
        """A turn completes with at least one Chunk, all of the kind that it produces."""
        _, chunks = self._run(rig, self.inputs)
        assert {type(chunk) for chunk in chunks} == {self.module.produces}

    def test_its_result_can_be_recorded(self, rig: Rig) -> None:
        """`result_json` is JSON, and tells how long its inference took."""
        result, _ = self._run(rig, self.inputs)
        recorded = json.loads(json.dumps(result.tasks[0].result_json, allow_nan=False))
        latency = recorded["latency_profile"]
        assert recorded["result_profile"]
        assert any(key.startswith("model_") for key in latency), "use context.latency.model(...)"
        assert {"ts_created", "ts_claimed", "ts_first_output", "ts_end"} <= set(latency)

    def test_it_tells_what_it_records(self, rig: Rig) -> None:
        """`results` and `measures` name what its records hold, where it declares any."""
        result, chunks = self._run(rig, self.inputs)
        recorded = result.tasks[0].result_json
        own = set(recorded["result_profile"]) - set(type(chunks[0]).gather(chunks).profile())
        assert not self.module.results or own <= set(self.module.results)
        measured = {key for key in recorded["latency_profile"] if key.startswith(_MEASURED)}
        assert not self.module.measures or measured <= set(self.module.measures)

    def test_a_second_turn_is_like_the_first(self, rig: Rig) -> None:
        """Nothing of one turn is left over in the next."""
        _, first = self._run(rig, self.inputs)
        _, second = self._run(rig, self.inputs)
        if self.deterministic:
            assert_same(first, second)

    def test_pieces_and_whole_give_the_same(self, rig: Rig) -> None:
        """Input that comes in pieces, or all of a kind as one Chunk: the result is the same."""
        _, pieces = self._run(rig, self.inputs)
        _, whole = self._run(rig, _gathered(self.inputs))
        _, chained = self._run(rig, self.inputs, Mode.CHAINED)
        if self.deterministic:
            assert_same(pieces, whole)
            assert_same(pieces, chained)

    def _run(
        self, rig: Rig, inputs: tuple[Chunk, ...], mode: Mode = Mode.STREAMED
    ) -> tuple[TurnResult, list[Chunk]]:
        seen = _Seen()
        run = rig.run(*inputs, mode=mode, conversation=self._conversation(), observer=seen)
        result = asyncio.run(run)
        _completed(result)
        assert seen.chunks, "it completed without a Chunk"
        return result, seen.chunks

    def _conversation(self) -> Conversation:
        return Conversation(exchanges=list(self.history))

    @pytest.mark.parametrize("moment", ["started", "first output"])
    def test_cancelling_stops_it(self, rig: Rig, moment: str) -> None:
        """A cancelled Task emits nothing more and leaves no thread at work."""
        asyncio.run(self._cancelled(rig, moment))

    async def _cancelled(self, rig: Rig, moment: str) -> None:
        seen = _Seen()
        turn = rig.turn(*self.inputs)
        run = asyncio.ensure_future(
            rig.runner.run(rig.plan, turn, observer=seen, conversation=self._conversation())
        )
        reached = seen.first if moment == "first output" else seen.started
        waiting = asyncio.ensure_future(reached.wait())
        await asyncio.wait([run, waiting], return_when=asyncio.FIRST_COMPLETED)
        run.cancel()
        for _ in range(3):  # the rounds of the event loop that the news takes to get there
            await asyncio.sleep(0)
        emitted = len(seen.chunks)
        await asyncio.wait([run], timeout=self.stop_within_s)
        assert run.done(), f"still at work {self.stop_within_s} s after it was cancelled"
        assert run.cancelled() or emitted, "it ended before it could be cancelled"
        assert rig.machine.working == 0, "a thread is still at work: poll context.stop"
        if run.cancelled():
            assert len(seen.chunks) == emitted
            assert rig.recorder.tracks[-1].status is TrackStatus.CANCELLED

    def test_it_is_loaded_once(self) -> None:
        """Two turns at once share one instance."""
        loads: list[Module] = []

        class Counted(self.module):  # type: ignore[misc, name-defined]
            __doc__ = self.module.__doc__

            def load(self) -> None:
                loads.append(self)
                super().load()

        rig = _rig(Counted, self.params, self.inputs)
        if missing := Counted.missing(rig.plan.steps[0].params):
            pytest.skip("; ".join(missing))
        asyncio.run(_two_at_once(rig, self.inputs))
        assert len(loads) == 1


class _Seen(Observer):
    """What a turn emitted, and whether it has come so far."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.started = asyncio.Event()
        self.first = asyncio.Event()

    def task(self, task: Task) -> None:
        if task.status is TaskStatus.STARTED:
            self.started.set()

    def chunk(self, component: str, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.first.set()


def assert_same(pieces: list[Chunk], others: list[Chunk]) -> None:
    """Two results say and sound the same, however they were cut."""
    one, other = type(pieces[0]).gather(pieces), type(others[0]).gather(others)
    assert one.profile() == other.profile()
    if isinstance(one, Sound) and isinstance(other, Sound):
        assert np.allclose(one.samples, other.samples, atol=1e-4)


def _rig(module: type[Module], params: Mapping[str, Any], inputs: tuple[Chunk, ...]) -> Rig:
    given = {type(chunk) for chunk in inputs}
    return Rig(
        module, clock=MonotonicClock(), given=given, overrides={module.task_name: dict(params)}
    )


async def _two_at_once(rig: Rig, inputs: tuple[Chunk, ...]) -> None:
    try:
        for result in await asyncio.gather(rig.run(*inputs), rig.run(*inputs)):
            _completed(result)
    finally:
        await rig.executor.close()


def _completed(result: TurnResult) -> None:
    assert result.error is None, f"{result.error.code}: {result.error}"
    assert result.track.status is TrackStatus.COMPLETED


def _gathered(inputs: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    kinds = dict.fromkeys(type(chunk) for chunk in inputs)
    return tuple(kind.gather([c for c in inputs if type(c) is kind]) for kind in kinds)


def _imported(module: type[Module], params: Mapping[str, Any]) -> set[str]:
    """The top-level packages that are there once the Module's file was imported elsewhere."""
    arguments = [inspect.getfile(module), module.__name__, json.dumps(dict(params))]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))
