"""What a function or a model of the user's own may do, and what becomes of one that errs."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from turnlab import errors
from turnlab.chunks import Audio, Caption, Chunk, Emotion, Reply, Speech, Transcript, Value
from turnlab.clock import MonotonicClock
from turnlab.clusters.declaration import Component, make_cluster
from turnlab.custom import load_function, load_predictor
from turnlab.modules.general_ml import KINDS, GeneralML
from turnlab.packaged import packaged
from turnlab.testing import Each, Rig, scripted
from turnlab.turn import TurnResult

ROOT = Path(__file__).resolve().parents[2]

SAID = Audio(samples=np.full(1600, 0.5, dtype=np.float32), sample_rate=16_000)
HEARD = Transcript(text="it is fine", final=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the machine's owner trusts; not the working directory."""
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("TURNLAB_CODE", str(folder))
    monkeypatch.chdir(elsewhere)
    return folder


def rig_of(given: tuple[type[Chunk], ...], **params: Any) -> Rig:
    return Rig(GeneralML, clock=MonotonicClock(), given=given, overrides={"general_ml": params})


async def call(folder: Path, body: str, *chunks: Chunk, **params: Any) -> TurnResult:
    """A turn of a Component that calls `f`, whose file holds `body`."""
    (folder / "mine.py").write_text(body)
    kinds = tuple(type(chunk) for chunk in chunks or (HEARD,))
    named: dict[str, Any] = {"function": "mine.py:f", "consumes": [kind.kind for kind in kinds]}
    return await rig_of(kinds, **{**named, **params}).run(*(chunks or (HEARD,)))


def made(result: TurnResult) -> dict[str, Any]:
    assert result.error is None, result.error
    return dict(result.tasks[0].result_json["result_profile"])


@pytest.mark.parametrize(
    ("value", "kind", "profile"),
    [
        ("0.25", "Value", {"value": 0.25}),
        ("'loud'", "Value", {"value": "loud"}),
        ("None or {'a': [1, True], 'b': 'c'}", "Value", {"value": {"a": [1, True], "b": "c"}}),
        ("__import__('numpy').arange(3.0)", "Value", {"value": [0.0, 1.0, 2.0]}),
        ("__import__('numpy').float32(0.5)", "Value", {"value": 0.5}),
        ("'A cat.'", "Caption", {"text": "A cat."}),
        ("1 / 3", "Caption", {"text": "0.333333"}),
        ("{'mood': 'calm', 'sure': 0.5}", "Caption", {"text": "mood: calm, sure: 0.5"}),
        ("['cat', 'dog']", "Transcript", {"text": "cat, dog"}),
        ("'Yes.'", "Reply", {"text": "Yes."}),
    ],
)
async def test_what_a_function_returns_becomes_a_chunk(
    folder: Path, value: str, kind: str, profile: dict[str, Any]
) -> None:
    result = await call(folder, f"def f(heard): return {value}", produces=kind)
    assert made(result) == profile


async def test_an_emotion_is_a_label_or_values(folder: Path) -> None:
    label = await call(folder, "def f(heard): return 'happy'", produces="Emotion")
    values = await call(folder, "def f(heard): return {'T': 0.5, 'M': 0.25}", produces="Emotion")
    assert made(label)["labels"] == {"M": "happy"}
    assert made(values)["T"] == 0.5


async def test_a_function_may_return_the_chunk_itself(folder: Path) -> None:
    body = (
        "from turnlab.chunks import Passage, Passages\n"
        "def f(heard): return Passages(items=(Passage(text='So.', source='me', score=1.0),))"
    )
    result = await call(folder, body, produces="Passages")
    assert made(result)["passages"][0]["text"] == "So."


async def test_a_generator_gives_its_chunks_as_they_come(folder: Path) -> None:
    body = "def f(heard):\n    for word in ('Well, ', heard.text): yield word"
    assert made(await call(folder, body, produces="Reply"))["text"] == "Well, it is fine"


async def test_arguments_come_by_name_and_chunks_in_order(folder: Path) -> None:
    body = (
        "def f(audio, heard, emotion, top):\n"
        "    return [audio.duration_s, heard.text, emotion is None, top]"
    )
    result = await call(folder, body, SAID, HEARD, uses=["Emotion"], arguments={"top": 3})
    assert made(result)["value"] == [0.1, "it is fine", True, 3]


async def test_the_time_of_a_function_is_measured(folder: Path) -> None:
    result = await call(folder, "def f(heard): return sum(range(100_000))")
    assert result.tasks[0].result_json["latency_profile"]["model_function"] > 0


async def test_a_label_reaches_the_prompt_of_a_later_component(folder: Path) -> None:
    (folder / "mine.py").write_text("def mood(audio): return 'excited'")
    told: list[str] = []

    def note(emotion: Emotion) -> Reply:
        told.append(emotion.words)
        return Reply(text=f"You sound {emotion.words}.")

    answer = scripted("answer", (Emotion,), Reply, Each(Emotion, note))
    params = {"function": "mine.py:mood", "consumes": ["Audio"], "produces": "Emotion"}
    cluster = make_cluster(
        "CLUSTER_MOOD",
        [
            Component(name="mood", task_name="general_ml", params=params),
            Component(name="answer", task_name="answer"),
        ],
    )
    rig = Rig(GeneralML, answer, cluster=cluster, clock=MonotonicClock())
    result = await rig.run(SAID)
    assert result.reply == "You sound excited."
    assert told == ["excited"]


async def test_two_components_of_one_cluster_differ_in_kind(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "def level(audio): return float(abs(audio.samples).max())\n"
        "def say(value): return f'You speak at {value.value}.'"
    )
    level = {"function": "mine.py:level", "consumes": ["Audio"]}
    say = {"function": "mine.py:say", "consumes": ["Value"], "produces": "Reply"}
    cluster = make_cluster(
        "CLUSTER_LEVEL",
        [
            Component(name="level", task_name="general_ml", params=level),
            Component(name="say", task_name="general_ml", params=say),
        ],
    )
    result = await Rig(GeneralML, cluster=cluster, clock=MonotonicClock()).run(SAID)
    assert result.reply == "You speak at 0.5."


def test_a_kind_that_nobody_makes_is_refused_when_the_cluster_is_read(folder: Path) -> None:
    with pytest.raises(errors.InvalidCluster, match="needs Emotion"):
        rig_of((Audio,), function="mine.py:f", consumes=["Emotion"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def f(heard): raise ValueError('no such word')", "no such word"),
        ("def f(heard): raise SystemExit(3)", "SystemExit(3)"),
        ("def f(heard): raise StopIteration", "StopIteration"),
        ("def f(heard): return {1, 2}", "gave a set"),
        ("def f(heard): return None", "gave a NoneType"),
        ("def f(heard): return float('nan')", "which is no number"),
        ("def f(): return 1", "takes 0 positional arguments"),
        ("def f(heard):\n    yield 1\n    raise ValueError('midway')", "midway"),
    ],
)
async def test_a_function_that_errs_fails_with_its_own_words(
    folder: Path, body: str, words: str
) -> None:
    result = await call(folder, body)
    assert isinstance(result.error, errors.ModuleFailed)
    assert words in str(result.error)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("Speech", "'text'"), ("Caption", "[1, 2]"), ("Emotion", "{'T': 7}"), ("Emotion", "3")],
)
async def test_a_value_that_cannot_be_the_kind_is_refused(
    folder: Path, kind: str, value: str
) -> None:
    result = await call(folder, f"def f(heard): return {value}", produces=kind)
    assert isinstance(result.error, errors.ModuleFailed)
    assert kind in str(result.error)


@pytest.mark.parametrize(
    "body",
    [
        "def f(heard):\n    while True: yield 1",
        "def f(heard): return 'x' * 2_000_000",
        "def f(heard): return list(range(20_000))",
        "import numpy\ndef f(heard): return numpy.zeros(20_000)",
        "def f(heard):\n    deep = []\n    for _ in range(50): deep = [deep]\n    return deep",
    ],
)
async def test_a_function_that_floods_is_stopped(folder: Path, body: str) -> None:
    result = await call(folder, body)
    assert isinstance(result.error, errors.TooMuchOutput)


async def test_a_function_that_does_not_return_ends_with_its_time(folder: Path) -> None:
    (folder / "mine.py").write_text("import threading\ndef f(heard): threading.Event().wait(0.6)")
    params = {"function": "mine.py:f", "consumes": ["Transcript"]}
    component = Component(name="general_ml", task_name="general_ml", params=params, timeout_s=0.1)
    cluster = make_cluster("CLUSTER_SLOW", [component])
    rig = Rig(GeneralML, cluster=cluster, clock=MonotonicClock(), given=(Transcript,))
    result = await rig.run(HEARD)
    assert isinstance(result.error, errors.ModuleTimeout)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"function": "mine.py:f"}, "at least one kind"),
        ({"consumes": ["Audio"]}, "name a function, a model or both"),
        ({"function": "os:system", "consumes": ["Audio"]}, "function"),
        ({"function": "mine.py:a.b", "consumes": ["Audio"]}, "function"),
        ({"function": "mine.py:f", "consumes": ["Smell"]}, "consumes"),
        ({"function": "mine.py:f", "consumes": ["Audio"], "produces": "Audio"}, "produces"),
        ({"model": "a.onnx", "consumes": ["Audio", "Image"]}, "without a function"),
        ({"model": "a.exe", "consumes": ["Audio"]}, "ends in"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidParams, match=words):
        GeneralML.check_params(params)


def missing(**params: Any) -> str:
    return " ".join(GeneralML.missing(GeneralML.check_params({"consumes": ["Audio"], **params})))


def test_a_file_that_is_not_there_is_missing() -> None:
    assert "no file absent.py" in missing(function="absent.py:f")


async def test_a_function_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    result = await call(folder, "def g(heard): return 1")
    assert isinstance(result.error, errors.MissingModel)
    assert "no function f; it has g" in str(result.error)


async def test_a_file_that_cannot_be_imported_says_why(folder: Path) -> None:
    result = await call(folder, "import nothing_of_that_name")
    assert isinstance(result.error, errors.ModuleFailed)
    assert "nothing_of_that_name" in str(result.error)


@pytest.mark.parametrize("given", ["{elsewhere}/evil.py:f", "evil.py:f", "../elsewhere/evil.py:f"])
async def test_code_outside_the_trusted_folders_is_not_run(folder: Path, given: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "evil.py").write_text("raise SystemExit('it ran')")
    function = given.format(elsewhere=elsewhere)
    assert "TURNLAB_CODE" in missing(function=function)
    result = await rig_of((Transcript,), function=function, consumes=["Transcript"]).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)


def test_a_link_out_of_a_trusted_folder_does_not_help(folder: Path) -> None:
    evil = folder.parent / "elsewhere" / "evil.py"
    evil.write_text("")
    (folder / "link.py").symlink_to(evil)
    assert "TURNLAB_CODE" in missing(function="link.py:f")


def link(name: str, target: Path) -> str:
    """A link of that name in a folder that nobody trusts."""
    path = target.parent.parent / "elsewhere" / name
    path.symlink_to(target)
    return name


@pytest.mark.parametrize("where", ["elsewhere", "mine"])
async def test_a_link_does_not_make_another_file_a_python_file(folder: Path, where: str) -> None:
    went_off = folder / "went-off"
    evil = folder.parent / where / "evil.txt"
    evil.write_text(f"open({str(went_off)!r}, 'w')\ndef f(heard): return 'hi'\n")
    function = link("f.py", evil) + ":f"
    assert "evil.txt" in missing(function=function)
    result = await rig_of((Transcript,), function=function, consumes=["Transcript"]).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)
    assert not went_off.exists()


@pytest.mark.parametrize("where", ["elsewhere", "mine"])
@pytest.mark.parametrize("name", ["m.onnx", "m.skops", "m.pkl"])
async def test_a_link_does_not_make_another_file_a_model(
    folder: Path, name: str, where: str
) -> None:
    went_off = folder / "went-off"
    weights = folder.parent / where / "weights.bin"
    weights.write_bytes(pickle.dumps(Bomb(went_off)))
    params: dict[str, Any] = {"model": link(name, weights), "consumes": ["Transcript"]}
    assert "weights.bin" in missing(**params)
    result = await rig_of((Transcript,), **params).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)
    assert not went_off.exists()


@pytest.mark.parametrize("name", ["m.onnx", "m.skops"])
async def test_a_link_of_data_to_a_pickle_is_a_pickle(folder: Path, name: str) -> None:
    went_off = folder / "went-off"
    bomb = folder.parent / "elsewhere" / "bomb.pkl"
    bomb.write_bytes(pickle.dumps(Bomb(went_off)))
    params: dict[str, Any] = {"model": link(name, bomb), "consumes": ["Transcript"]}
    assert "TURNLAB_CODE" in missing(**params)
    result = await rig_of((Transcript,), **params).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)
    assert not went_off.exists()


@pytest.mark.parametrize("name", ["weights.bin", "weights"])
def test_no_loader_takes_a_file_of_another_ending(folder: Path, name: str) -> None:
    went_off = folder / "went-off"
    path = folder / name
    path.write_bytes(pickle.dumps(Bomb(went_off)))
    with pytest.raises(errors.InvalidParams, match="does not end in"):
        load_predictor(path, [])
    with pytest.raises(errors.InvalidParams, match="does not end in"):
        load_function(path, "f")
    assert not went_off.exists()


def test_a_link_to_a_trusted_python_file_is_that_file(folder: Path) -> None:
    (folder / "mine.py").write_text("")
    assert missing(function=link("f.py", folder / "mine.py") + ":f") == ""


def test_trusted_folders_that_cannot_be_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLAB_CODE", "~no_such_user_here/code")
    assert "TURNLAB_CODE names a folder" in missing(function="mine.py:f")


async def test_an_edited_function_is_loaded_anew_and_no_other(folder: Path) -> None:
    path = folder / "mine.py"
    path.write_text("def f(heard): return 'old'")
    (folder / "other.py").write_text("def f(heard): return 1")
    rig = rig_of((Transcript,), function="mine.py:f", consumes=["Transcript"])
    other = GeneralML.check_params({"function": "other.py:f", "consumes": ["Transcript"]})
    keys = [GeneralML.instance_key(other)]
    assert made(await rig.run(HEARD))["value"] == "old"
    path.write_text("def f(heard): return 'edited'")
    await rig.executor.keep_only(rig.plan)
    assert made(await rig.run(HEARD))["value"] == "edited"
    assert keys == [GeneralML.instance_key(other)]


def test_a_model_that_was_trained_again_is_another_one(folder: Path) -> None:
    params = GeneralML.check_params({"model": "m.skops", "consumes": ["Transcript"]})
    absent = GeneralML.instance_key(params)
    (folder / "m.skops").write_bytes(b"one")
    first = GeneralML.instance_key(params)
    (folder / "m.skops").write_bytes(b"other")
    assert len({absent, first, GeneralML.instance_key(params)}) == 3


class Bomb:
    """Does something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("ending", ["pkl", "pickle", "joblib", "PKL"])
async def test_a_pickle_is_not_opened_unless_its_folder_is_trusted(
    folder: Path, ending: str
) -> None:
    went_off = folder / "went-off"
    bomb = folder.parent / "elsewhere" / f"bomb.{ending}"
    bomb.write_bytes(pickle.dumps(Bomb(went_off)))
    params: dict[str, Any] = {"model": str(bomb), "consumes": ["Transcript"]}
    assert "TURNLAB_CODE" in missing(**params)
    result = await rig_of((Transcript,), **params).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)
    assert not went_off.exists()


async def test_types_that_skops_does_not_know_need_a_trusted_folder(folder: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    elsewhere = folder.parent / "elsewhere" / "odd.skops"
    skops.io.dump(FunctionTransformer(np.tanh, feature_names_out=call), elsewhere)
    params: dict[str, Any] = {"model": "odd.skops", "consumes": ["Transcript"]}
    result = await rig_of((Transcript,), **params).run(HEARD)
    assert isinstance(result.error, errors.InvalidParams)
    assert "does not vouch for" in str(result.error)


@pytest.mark.parametrize("name", ["broken.onnx", "broken.skops", "broken.joblib"])
async def test_a_model_that_cannot_be_read_says_so(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"this is no model")
    result = await rig_of((Transcript,), model=name, consumes=["Transcript"]).run(HEARD)
    assert isinstance(result.error, errors.MissingModel)
    assert name in str(result.error)


async def test_a_regression_gives_a_number(folder: Path) -> None:
    import skops.io

    model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    skops.io.dump(model, folder / "line.skops")
    body = "def f(audio): return [audio.samples.max()]"
    result = await call(folder, body, SAID, model="line.skops")
    assert made(result)["value"] == pytest.approx(2.0)


async def test_an_onnx_model_gets_the_arrays_that_it_names(folder: Path) -> None:
    model = packaged("onnxruntime", "datasets", "sigmoid.onnx")
    body = "import numpy\ndef f(audio): return {NAME: numpy.zeros((3, 4, 5))}"
    right = await call(folder, body.replace("NAME", "'x'"), SAID, model=str(model))
    wrong = await call(folder, body.replace("NAME", "'y'"), SAID, model=str(model))
    assert np.allclose(made(right)["value"], 0.5)
    assert "takes x" in str(wrong.error)


async def test_labels_name_what_an_onnx_model_gives(folder: Path) -> None:
    model = packaged("onnxruntime", "datasets", "mul_1.onnx")  # six numbers in, six out
    body = "def f(audio): return [[1, 2], [3, 9], [5, 6]]"
    labels = ["a", "b", "c", "d", "e", "f"]
    params: dict[str, Any] = {"model": str(model), "labels": labels, "produces": "Caption"}
    result = await call(folder, body, SAID, **params)
    assert made(result)["text"] == "d"
    assert set(made(result)["confidences"]) == set(labels)
    few = await call(folder, body, SAID, **{**params, "labels": ["a", "b"]})
    assert "one label for each" in str(few.error)


async def test_nothing_to_work_on_is_an_error(folder: Path) -> None:
    (folder / "mine.py").write_text("def f(heard): return 1")
    rig = rig_of((Transcript,), function="mine.py:f", consumes=["Transcript"])
    result = await rig.run(kinds=(Transcript,))
    assert isinstance(result.error, errors.ModuleFailed)


def test_every_kind_can_be_read() -> None:
    assert {Audio, Caption, Speech, Value} <= set(KINDS.values())


async def test_cancelling_frees_the_thread(folder: Path) -> None:
    (folder / "mine.py").write_text("def f(heard):\n    while True: yield 'x'")
    rig = rig_of((Transcript,), function="mine.py:f", consumes=["Transcript"], produces="Reply")
    turn = asyncio.ensure_future(rig.run(HEARD))
    await asyncio.sleep(0)
    turn.cancel()
    await asyncio.wait([turn])
    assert rig.machine.working == 0


@pytest.mark.slow
def test_the_page_on_it_is_true(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "use-any-model.md").read_text()
    for path, text in re.findall(r"`(my-[\w/-]+\.\w+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    audio = packaged("moonshine_voice", "assets", "beckett.wav")
    asked = ("run", "--json", "--clusters", "my-clusters", "--cluster", "MOOD", "--budget", "60")
    done = subprocess.run(
        [sys.executable, "-m", "turnlab", *asked, "--audio", str(audio)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TURNLAB_CODE": "my-functions", "TURNLAB_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 0, done.stderr
    turn = json.loads(done.stdout)
    assert turn["reply"]
    assert {task["name"] for task in turn["tasks"]} >= {"level", "mood"}
