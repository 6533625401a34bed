"""`turnlab predict` on Runs of Modules that take known times, from the database to the page."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turnlab.audio import RATE, open_recording
from turnlab.bench.predict.library import FEWEST
from turnlab.cli.bench import bench
from turnlab.cli.predict import EXIT_OVER_BUDGET, EXIT_UNDECIDED, predict
from turnlab.errors import (
    InvalidRequest,
    InvalidWhatIf,
    NothingMeasured,
    OutputFailed,
    UnknownRun,
)
from turnlab.packaged import packaged
from turnlab.server.runs import list_runs
from turnlab.tracks import Mode

MODULES = """
import asyncio
import numpy as np
from turnlab.chunks import Audio, Reply, Speech, Transcript
from turnlab.modules.base import Module
from pydantic import BaseModel

class Hear(Module):
    task_name, consumes, produces = "hear", (Audio,), Transcript
    async def run(self, inputs, context):
        await inputs.whole(Audio)
        await asyncio.sleep(0.004)
        yield Transcript(text="ever tried", final=True)

class Answer(Module):
    task_name, consumes, produces = "answer", (Transcript,), Reply
    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        await asyncio.sleep(0.008)
        yield Reply(text="Ever failed.")

class Fail(Module):
    task_name, consumes, produces = "fail", (Transcript,), Reply
    async def run(self, inputs, context):
        raise RuntimeError("no")
        yield Reply(text="")

class Charge(Module):
    task_name, consumes, produces = "charge", (Transcript,), Reply
    async def run(self, inputs, context):
        await inputs.whole(Transcript)
        context.result["usage"] = {"tokens": 3}
        yield Reply(text="Ever failed.")

class Mute(Module):
    task_name, consumes, produces = "mute", (Reply,), Speech
    async def run(self, inputs, context):
        await inputs.whole(Reply)
        yield Speech(samples=np.zeros(800, dtype=np.float32), sample_rate=8000, text="Ever")

class Speak(Module):
    task_name, consumes, produces, concurrency = "speak", (Reply,), Speech, 1
    class Params(BaseModel):
        slow: float = 0.002
    async def run(self, inputs, context):
        await inputs.whole(Reply)
        await asyncio.sleep(context.params.slow)
        yield Speech(samples=np.full(800, 0.5, dtype=np.float32), sample_rate=8000, text="Ever")
"""

CLUSTER = """
name = "{name}"
[budget]
voice_to_voice_s = 10.0
[[component]]
task = "hear"
[[component]]
task = "answer"
[[component]]
task = "speak"
params = {{ slow = {slow} }}
"""

OTHERS = """
name = "{name}"
[[component]]
task = "hear"
[[component]]
task = "{answer}"
[[component]]
task = "{speak}"
"""

Predict = Callable[..., int]


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be most of the time that these take."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Somebody who speaks, for half a second."""
    path = packaged("moonshine_voice", "assets", "beckett.wav")
    assert path is not None
    return np.concatenate(list(open_recording(path).blocks()))[: RATE // 2]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    modules, clusters = tmp_path / "modules", tmp_path / "clusters"
    modules.mkdir()
    clusters.mkdir()
    (modules / "parrot.py").write_text(MODULES)
    for name, slow in (("QUICK", 0.002), ("SLOW", 0.030), ("NEVER_RUN", 0.010)):
        (clusters / f"{name.lower()}.toml").write_text(CLUSTER.format(name=name, slow=slow))
    for name, answer, speak in (
        ("SILENT", "answer", "mute"),
        ("DEAD", "fail", "speak"),
        ("CHARGED", "charge", "speak"),
    ):
        text = OTHERS.format(name=name, answer=answer, speak=speak)
        (clusters / f"{name.lower()}.toml").write_text(text)
    (clusters / "strict.toml").write_text(
        CLUSTER.format(name="STRICT", slow=0.002).replace(
            "voice_to_voice_s = 10.0", 'limits = ["completed >= 0.99"]'
        )
    )
    return clusters, modules


@pytest.fixture
def run(
    database: Path, tmp_path: Path, folders: tuple[Path, Path], voice: np.ndarray
) -> Callable[..., str]:
    """Records a Run; its id."""

    def asked(questions: int) -> Path:
        dataset = tmp_path / f"questions-{questions}"
        dataset.mkdir(exist_ok=True)
        rows = []
        for number in range(questions):
            loud = voice * (1 - number / (2 * questions))
            soundfile.write(dataset / f"q{number}.wav", loud, RATE)
            rows.append(json.dumps({"id": f"q{number}", "audio": f"q{number}.wav"}))
        (dataset / "manifest.jsonl").write_text("\n".join(rows))
        return dataset

    def record(*names: str, questions: int = FEWEST, **options: object) -> str:
        clusters, modules = folders
        bench(
            clusters=",".join(names),
            dataset=asked(questions),
            repeat=1,
            warm_up=0,
            cluster_folder=[clusters],
            modules=[modules],
            **options,
        )
        return list_runs()[0][0].id

    return record


@pytest.fixture
def ask(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """Calls the command; what it prints as JSON, and its exit code."""

    def call(cluster: str | None = None, **options: object) -> dict:
        clusters, modules = folders
        capsys.readouterr()
        given = {"clusters": [clusters], "modules": [modules], "turns": 200, "as_json_": True}
        code = predict(cluster, **{**given, **options})  # type: ignore[arg-type]
        return {**json.loads(capsys.readouterr().out), "code": code}

    return call


def median(found: dict) -> float:
    return float(found["figures"]["voice_to_voice.p50"]["value"])


def test_a_recorded_run_is_predicted_changed_and_judged(
    run, ask, folders, tmp_path, capsys
) -> None:
    run_id = run("QUICK", "SLOW")
    quick = ask("QUICK")
    assert quick["code"] in (0, 3)
    assert 0.013 < median(quick) < 0.1
    assert quick["critical"]["component"] == "answer"
    assert [each["measured_as"] for each in quick["components"]] == ["hear", "answer", "speak"]
    slow = median(ask("SLOW"))
    assert slow > median(quick) + 0.02

    longer = ask("QUICK", set_=["answer.model=+200ms"])
    assert median(longer) == pytest.approx(median(quick) + 0.2, abs=0.01)
    used = ask("QUICK", use=[f"speak={run_id}:SLOW"])
    assert median(used) == pytest.approx(slow, abs=0.01)
    many = ask("SLOW", concurrency=8)
    assert median(many) > 2 * slow
    far = ask("QUICK", network="60ms")
    assert median(far) == pytest.approx(median(quick) + 0.18, abs=0.01)
    assert ask("QUICK", mode=Mode.CHAINED)["code"] in (0, 3)

    missed = ask("SLOW", budget=[f"voice_to_voice.p50 <= {(slow + median(quick)) / 2}"])
    assert missed["code"] == EXIT_OVER_BUDGET
    best = missed["advice"]["options"][0]
    assert best["kept"]
    assert best["what"].startswith("--use speak=")
    hopeless = ask("SLOW", budget=["voice_to_voice.p50 <= 0.001"])
    assert "No single change" in hopeless["advice"]["sentence"]

    never = ask("NEVER_RUN")
    assert "nearest" in " ".join(never["notes"])

    page = tmp_path / "capacity.html"
    limits = [f"voice_to_voice.p95 <= {4 * slow}"]
    found = ask("SLOW", capacity=True, budget=limits, out=page, pause="100ms")
    assert found["capacity"]["most"] >= 1
    counts = [each["conversations"] for each in found["capacity"]["curve"]]
    assert counts == sorted(set(counts))
    assert "<svg" in page.read_text()

    with pytest.raises(InvalidWhatIf):
        ask("QUICK", set_=["answer.model=exit()"])
    with pytest.raises(InvalidRequest):
        ask()
    with pytest.raises(UnknownRun):
        ask("QUICK", runs="R-20200101T000000-000000")
    with pytest.raises(NothingMeasured):
        ask("CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION")

    clusters, modules = folders
    assert predict("SLOW", clusters=[clusters], modules=[modules], turns=200) in (0, 3)
    told = capsys.readouterr().out
    assert "SLOW would answer after" in " ".join(told.split())
    assert "95 % interval" in told


def test_a_hidden_run_is_predicted_from_another_or_from_its_other_half(run, ask, tmp_path) -> None:
    first = run("QUICK", questions=2 * FEWEST)
    halves = ask(validate=first)
    (check,) = halves["checks"]
    assert "other half" in check["sentence"]
    assert "more" in check["errors"]["p95"]["why"]

    second = run("QUICK", "SLOW")
    page = tmp_path / "validation.html"
    found = ask(validate=second, out=page)
    assert {each["cluster"] for each in found["checks"]} == {"QUICK", "SLOW"}
    quick, slow = sorted(found["checks"], key=lambda each: each["cluster"])
    assert abs(quick["errors"]["p50"]["value"]) < 0.5
    assert quick["sort"] == "measured"
    # Its voice was measured in no other Run, so its nearest stands for it, and that is said.
    assert slow["sort"] == "new"
    assert any("nearest" in note for note in slow["notes"])
    assert found["code"] == EXIT_OVER_BUDGET
    assert page.read_text().count("<svg") >= 4


def test_turns_without_a_reply_are_told(run, ask) -> None:
    quick = run("QUICK")
    silent = run("SILENT", "DEAD")
    for name in ("SILENT", "DEAD"):  # nobody has measured what is mute, or fails
        with pytest.raises(NothingMeasured, match=f"{FEWEST} of {FEWEST} turns of {name}"):
            ask(name)
    with pytest.raises(NothingMeasured, match=f"{silent} holds no turn that can be used"):
        ask("QUICK", runs=f"{quick},{silent}")


def test_a_price_that_is_unknown_is_no_price_of_nothing(run, ask) -> None:
    run("CHARGED")
    found = ask("CHARGED", budget=["cost_per_turn <= 1"], capacity=True)
    assert found["code"] == EXIT_UNDECIDED
    assert "price of a Component is not known" in found["verdicts"][0]["sentence"]
    assert found["capacity"]["most"] is None


def test_limits_of_the_clusters_own_that_are_not_predicted_leave_it_decided(run, ask) -> None:
    run("STRICT")
    found = ask("STRICT")
    assert found["code"] == 0
    assert found["verdicts"] == []
    assert any("completed >= 0.99" in note for note in found["notes"])


def test_runs_are_named_and_what_makes_no_sense_is_refused(
    run, ask, tmp_path, folders, capsys, monkeypatch
) -> None:
    run("QUICK", name="before")
    second = run("QUICK")
    assert ask("QUICK", runs="before,last")["figures"]
    assert ask(validate="last", runs="before")["run"] == second
    with pytest.raises(InvalidRequest, match="names no Run"):
        ask("QUICK", runs=" ,")
    with pytest.raises(InvalidRequest, match="leave out CLUSTER, --capacity"):
        ask("QUICK", validate="last", capacity=True)

    monkeypatch.setattr("turnlab.cli.predict.predict_it", lambda _: pytest.fail("too soon"))
    with pytest.raises(OutputFailed):
        ask("QUICK", out=tmp_path)
    monkeypatch.undo()

    page = tmp_path / "new" / "quick.html"
    assert ask("QUICK", out=page)["figures"]
    assert page.read_text().count("QUICK, predicted") == 2  # the title, and the line above

    clusters, modules = folders
    predict(validate="last", clusters=[clusters], modules=[modules], turns=200)
    told = capsys.readouterr().out
    assert "QUICK (streamed)\n" in told
    assert all(len(line) <= 80 for line in told.splitlines())
