"""What `turnlab modules new` writes is a Module, for any kinds that it reads and makes."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from typer.testing import CliRunner

from turnlab import chunks
from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passage,
    Passages,
    Reply,
    Speech,
    Transcript,
    Value,
)
from turnlab.cli import app
from turnlab.cli.templates.module import KINDS, module_test, module_text
from turnlab.clock import MonotonicClock
from turnlab.clusters import load_cluster
from turnlab.errors import InvalidCluster, InvalidModule, OutputFailed, TurnlabError
from turnlab.modules.registry import find_modules
from turnlab.testing import Rig

SOUND = np.zeros(800, np.float32)
SAMPLES: tuple[Chunk, ...] = (
    Audio(samples=SOUND, sample_rate=16_000),
    Caption(text="a cat"),
    Emotion(values={"M": 0.5}, labels={"M": "happy"}),
    Image(data=b"picture", media_type="image/png"),
    Passages(items=(Passage(text="Cats purr.", source="cats.md", score=0.5),)),
    Reply(text="Hello."),
    Speech(samples=SOUND, sample_rate=16_000),
    Transcript(text="thank you", final=True),
    Value(value={"n": 1}),
)


def turnlab(*args: str) -> str:
    """What the command prints; raises what it raises."""
    done = CliRunner().invoke(app, args, catch_exceptions=False, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_every_kind_can_be_read_and_made():
    kinds = {c.kind for c in vars(chunks).values() if isinstance(c, type) and issubclass(c, Chunk)}
    assert set(KINDS) == kinds - {""}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
async def test_any_pair_of_kinds_works(tmp_path, sample):
    for kind in KINDS:
        path = tmp_path / f"to_{kind.lower()}.py"
        path.write_text(module_text(path.stem, [sample.kind], kind))
    registry = find_modules([tmp_path])
    assert registry.problems == ()
    for kind in KINDS:
        module = registry.get(f"to_{kind.lower()}")
        rig = Rig(module, clock=MonotonicClock(), given=[type(sample)])
        result = await rig.run(sample)
        await rig.executor.close()
        assert result.error is None
        assert rig.recorder.tasks[-1].result_json["result_profile"]


def test_several_kinds_are_read_together(tmp_path):
    (tmp_path / "both.py").write_text(module_text("both", ["Audio", "Caption"], "Speech"))
    assert find_modules([tmp_path]).get("both").consumes == (Audio, Caption)


@pytest.mark.parametrize("name", ["transcript", "module", "chunk", "none", "true", "a__b", "x_"])
def test_names_that_the_file_needs_itself_are_no_trouble(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(module_text(name, ["Transcript"], "Reply"))
    assert find_modules([tmp_path]).get(name).task_name == name
    ast.parse(module_test(name, ["Transcript"], "my-modules"))


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a b", "a-b", "a/b", "../a", "class", "test_a", "conftest", "a" * 65]
)
def test_a_module_with_a_bad_name_is_refused(tmp_path, name):
    with pytest.raises(InvalidModule, match="cannot be named"):
        turnlab("modules", "new", name, "--to", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_kind_that_there_is_not_names_the_nearest(tmp_path):
    with pytest.raises(InvalidModule, match="did you mean Transcript"):
        turnlab("modules", "new", "a", "--to", str(tmp_path), "--reads", "transcrpt")
    with pytest.raises(InvalidModule, match="there are Audio"):
        turnlab("modules", "new", "a", "--to", str(tmp_path), "--makes", "xyz")


@pytest.mark.parametrize("there", ["a.py", "test_a.py"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputFailed, match="there already"):
        turnlab("modules", "new", "a", "--to", str(tmp_path))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_module_in_place_of_a_built_in_one_says_so(tmp_path):
    assert "in place of" in turnlab("modules", "new", "speech2text", "--to", str(tmp_path))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailed, match="cannot be written"):
        turnlab("modules", "new", "a", "--to", str(tmp_path / "file" / "folder"))


def test_a_new_cluster_is_what_was_asked_for(tmp_path):
    folder = tmp_path / "mine"
    tasks = "speech2text, quantization_llm,text2speech"
    turnlab("clusters", "new", "MINE", "--to", str(folder), "--tasks", tasks)
    cluster = load_cluster(folder / "mine.toml")
    assert cluster.name == "MINE"
    assert [c.task_name for c in cluster.components] == tasks.replace(" ", "").split(",")
    with pytest.raises(OutputFailed, match="there already"):
        turnlab("clusters", "new", "MINE", "--to", str(folder))


def test_a_task_may_be_there_twice(tmp_path):
    tasks = "speech2text,quantization_llm,quantization_llm,text2speech"
    turnlab("clusters", "new", "TWICE", "--to", str(tmp_path), "--tasks", tasks)
    names = [component.name for component in load_cluster(tmp_path / "twice.toml").components]
    assert names[1:3] == ["quantization_llm", "quantization_llm_2"]


@pytest.mark.parametrize(
    ("name", "tasks", "says"),
    [
        ("A B", "speech2text", "cannot be named"),
        ("A", "", "has no task"),
        ("A", "speech2txt", "did you mean 'speech2text'?"),
        ("A", "text2speech", "needs Reply"),
        ("A", "speech2text", "makes no Speech"),
    ],
)
def test_a_new_cluster_that_could_not_run_is_refused(tmp_path, name, tasks, says):
    with pytest.raises(TurnlabError) as caught:
        turnlab("clusters", "new", name, "--to", str(tmp_path / "new"), "--tasks", tasks)
    assert says in caught.value.message
    assert not (tmp_path / "new").exists()


SEED = """
FIRST_NAME = "CLUSTER_FIRST"
FIRST = {"a": {"order": 0, "component_type": "task", "task_name": asked, "extra_params": {}}}
CLUSTERS = {FIRST_NAME: FIRST, "CLUSTER_SECOND": FIRST}
"""


def test_imported_clusters_are_written_one_a_file(tmp_path):
    (tmp_path / "clusters.py").write_text(SEED)
    turnlab("clusters", "import", str(tmp_path / "clusters.py"), "--to", str(tmp_path / "to"))
    files = sorted((tmp_path / "to").iterdir())
    assert [path.name for path in files] == ["cluster_first.toml", "cluster_second.toml"]
    assert load_cluster(files[0]).component("a").task_name == "asked"


def test_an_import_overwrites_only_when_it_is_told_to(tmp_path):
    asked = ("clusters", "import", str(tmp_path / "clusters.py"), "--to", str(tmp_path))
    (tmp_path / "clusters.py").write_text(SEED)
    (tmp_path / "cluster_second.toml").write_text("mine")
    with pytest.raises(OutputFailed, match="there already"):
        turnlab(*asked)
    assert not (tmp_path / "cluster_first.toml").exists()
    turnlab(*asked, "--force")
    assert load_cluster(tmp_path / "cluster_second.toml").name == "CLUSTER_SECOND"


def test_two_clusters_for_one_file_are_refused(tmp_path):
    (tmp_path / "clusters.py").write_text(SEED.replace("CLUSTER_SECOND", "cluster_first"))
    with pytest.raises(OutputFailed, match="two Clusters"):
        turnlab("clusters", "import", str(tmp_path / "clusters.py"), "--to", str(tmp_path))


def test_an_import_of_what_declares_nothing_is_an_error(tmp_path):
    (tmp_path / "clusters.py").write_text("x = 1")
    with pytest.raises(InvalidCluster, match="declares no Cluster"):
        turnlab("clusters", "import", str(tmp_path / "clusters.py"), "--to", str(tmp_path))
