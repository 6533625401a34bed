"""Modules: found built in, in a folder and in an installed package; declared properly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from turnlab.chunks import Audio, Reply, Transcript
from turnlab.errors import InvalidModule, InvalidParams, UnknownModule
from turnlab.modules.base import Module, NoParams, loaded
from turnlab.modules.registry import Registry, find_modules
from turnlab.testing import scripted

SHOUT = """
from turnlab.chunks import Reply
from turnlab.modules.base import Module

class Shout(Module):
    task_name = "{task_name}"
    consumes = (Reply,)
    produces = Reply

    async def run(self, inputs, context):
        yield Reply(text="a")
"""


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_built_in_modules_are_found_without_their_libraries():
    assert {"speech2text", "quantization_llm", "text2speech"} <= {
        module.task_name for module in find_modules()
    }


def test_a_file_in_a_folder_is_a_module(tmp_path):
    registry = find_modules([write(tmp_path, "shout.py", SHOUT.format(task_name="shout"))])
    assert registry.get("shout").__name__ == "Shout"
    assert "shout" in registry


def test_two_modules_of_one_folder_cannot_perform_one_task(tmp_path):
    write(tmp_path, "one.py", SHOUT.format(task_name="shout"))
    write(tmp_path, "two.py", SHOUT.format(task_name="shout"))
    with pytest.raises(InvalidModule, match=r"two\.py performs shout, as .*one\.py"):
        find_modules([tmp_path])


def test_files_that_begin_with_an_underscore_are_left_alone(tmp_path):
    write(tmp_path, "_helper.py", "raise ValueError")
    names = {module.task_name for module in find_modules()}
    assert {module.task_name for module in find_modules([tmp_path])} == names


def test_a_users_module_replaces_a_built_in_one(tmp_path):
    registry = find_modules([write(tmp_path, "mine.py", SHOUT.format(task_name="speech2text"))])
    assert registry.get("speech2text").__name__ == "Shout"


@pytest.mark.parametrize(
    "text",
    [
        "this is no Python",
        "import no_such_library",
        "raise ValueError('x')",
        "raise SystemExit(1)",
        SHOUT.format(task_name="not an identifier"),
        SHOUT.format(task_name="x").replace("(Reply,)", "Reply"),
        SHOUT.format(task_name="x").replace("produces = Reply", "pass"),
    ],
)
def test_a_file_that_cannot_be_used_names_itself(tmp_path, text):
    write(tmp_path, "bad.py", text)
    with pytest.raises(InvalidModule, match=r"bad\.py cannot be imported"):
        find_modules([tmp_path])
    assert "turnlab_user_bad" not in sys.modules


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidModule, match="--modules"):
        find_modules([tmp_path / "absent"])


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package with an entry point look installed."""

    def install(text: str, value: str) -> None:
        write(tmp_path / "shouting_plugin", "__init__.py", text)
        info = tmp_path / "shouting_plugin-1.0.dist-info"
        write(info, "METADATA", "Metadata-Version: 2.1\nName: shouting-plugin\nVersion: 1.0\n")
        write(info, "entry_points.txt", f"[turnlab.modules]\nshout = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("shouting_plugin", None)


@pytest.mark.parametrize("value", ["shouting_plugin", "shouting_plugin:Shout"])
def test_an_installed_package_gives_its_modules(package, value):
    package(SHOUT.format(task_name="shout"), value)
    assert find_modules().get("shout").__module__ == "shouting_plugin"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("raise ValueError('x')", "shouting_plugin"),
        ("", "shouting_plugin:Absent"),
        ("Shout = 1", "shouting_plugin:Shout"),
    ],
)
def test_an_installed_package_that_cannot_be_used_is_an_error(package, text, value):
    package(text, value)
    with pytest.raises(InvalidModule):
        find_modules()


def test_an_unknown_task_lists_the_known():
    with pytest.raises(UnknownModule, match="there are a, b"):
        Registry([scripted("b", [], Reply), scripted("a", [], Reply)]).get("c")


def test_a_module_without_a_task_name_cannot_be_registered():
    class Nameless(Module):
        """It performs nothing."""

    with pytest.raises(InvalidModule, match="names no task_name"):
        Registry([Nameless])


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"task_name": "a b"}, "no identifier"),
        ({"consumes": Reply}, "consumes"),
        ({"consumes": [Reply]}, "consumes"),
        ({"uses": (str,)}, "uses"),
        ({"produces": str}, "produces"),
        ({"Params": dict}, "Params"),
    ],
)
def test_a_class_that_is_declared_wrongly_is_refused_when_it_is_defined(declared, says):
    right = {"task_name": "a", "consumes": (Audio,), "produces": Transcript}
    with pytest.raises(InvalidModule, match=says):
        type("Wrong", (Module,), {**right, **declared})


def test_a_run_that_never_yields_is_refused():
    async def run(self, inputs, context):
        return Reply(text="a")

    with pytest.raises(InvalidModule, match="never yields"):
        scripted("a", [], Reply, run=run)


class Params(NoParams):
    model: str = loaded("a")
    speed: float = 1.0


def test_an_unknown_parameter_is_refused_with_the_nearest():
    module = scripted("voice", [], Reply, Params=Params)
    with pytest.raises(InvalidParams, match="did you mean 'speed'"):
        module.check_params({"sped": 1})
    with pytest.raises(InvalidParams, match="it has model, speed"):
        module.check_params({"xyz": 1})
    with pytest.raises(InvalidParams, match="it has none"):
        scripted("plain", [], Reply).check_params({"xyz": 1})
    with pytest.raises(InvalidParams, match="speed: Input should be a valid number"):
        module.check_params({"speed": "fast"})


def test_only_what_load_reads_tells_instances_apart():
    module = scripted("voice", [], Reply, Params=Params)
    keys = [module.instance_key(Params(**p)) for p in ({}, {"speed": 2.0}, {"model": "b"})]
    assert keys[0] == keys[1] != keys[2]
