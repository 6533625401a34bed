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
    write(tmp_path, "whisper.py", SHOUT.format(task_name="whisper"))
    registry = find_modules([tmp_path])
    with pytest.raises(InvalidModule, match=r"two\.py performs shout, as .*one\.py"):
        registry.get("shout")
    assert registry.get("whisper").task_name == "whisper"
    assert len(registry.problems) == 1


def test_files_that_begin_with_an_underscore_are_left_alone(tmp_path):
    write(tmp_path, "_helper.py", "raise ValueError")
    names = {module.task_name for module in find_modules()}
    assert {module.task_name for module in find_modules([tmp_path])} == names


@pytest.mark.parametrize("name", ["test_shout.py", "shout_test.py", "conftest.py"])
def test_tests_may_lie_beside_the_modules(tmp_path, name):
    write(tmp_path, name, "raise ValueError")
    assert find_modules([tmp_path]).problems == ()


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
    write(tmp_path, "good.py", SHOUT.format(task_name="good"))
    registry = find_modules([tmp_path])
    (problem,) = registry.problems
    assert f"{tmp_path / 'bad.py'} cannot be imported" in problem.message
    assert registry.get("good").__name__ == "Shout"
    assert not [name for name in sys.modules if name.startswith("turnlab_user_bad_")]
    assert "speech2text" in registry


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", "raise ValueError" + SHOUT.format(task_name="speech2text")),
        ("mine.py", SHOUT.format(task_name="speech2text") + "this is no Python"),
        ("speech2text.py", "this is no Python"),
    ],
)
def test_what_cannot_be_used_is_not_replaced_by_what_the_user_did_not_mean(tmp_path, name, text):
    registry = find_modules([write(tmp_path, name, text)])
    assert "speech2text" in registry
    with pytest.raises(InvalidModule, match=rf"{name} cannot be imported"):
        registry.get("speech2text")
    assert "speech2text" not in {module.task_name for module in registry}


def test_a_later_folder_mends_what_an_earlier_one_broke(tmp_path):
    broken = write(tmp_path / "broken", "shout.py", "this is no Python")
    whole = write(tmp_path / "whole", "shout.py", SHOUT.format(task_name="shout"))
    assert find_modules([broken, whole]).get("shout").__name__ == "Shout"


def test_an_unchanged_file_keeps_its_classes_and_a_changed_one_does_not(tmp_path):
    write(tmp_path, "one.py", SHOUT.format(task_name="one"))
    write(tmp_path, "two.py", SHOUT.format(task_name="two"))
    before = find_modules([tmp_path])
    # Of the same size and second, which Python's cache of compiled files would not notice.
    write(tmp_path, "two.py", SHOUT.format(task_name="two").replace('"a"', '"b"'))
    after = find_modules([tmp_path])
    assert after.get("one") is before.get("one")
    assert after.get("two") is not before.get("two")
    assert find_modules([tmp_path]).get("two") is after.get("two")


async def test_a_changed_file_does_what_it_says_now(tmp_path):
    said = []
    for word in ("a", "b"):
        text = SHOUT.format(task_name="shout").replace('"a"', f'"{word}"')
        module = find_modules([write(tmp_path, "shout.py", text)]).get("shout")
        said += [chunk.text async for chunk in module(NoParams()).run(None, None)]
    assert said == ["a", "b"]


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    one = write(tmp_path / "a", "same.py", SHOUT.format(task_name="one"))
    two = write(tmp_path / "b", "same.py", SHOUT.format(task_name="two"))
    registry = find_modules([one, two])
    assert {"one", "two"} <= {module.task_name for module in registry}


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
        ("raise SystemExit", "shouting_plugin"),
        ("import no_such_library", "shouting_plugin"),
        ("", "shouting_plugin:Absent"),
        ("Shout = 1", "shouting_plugin:Shout"),
    ],
)
def test_an_installed_package_that_cannot_be_used_is_named_and_left_out(package, text, value):
    package(text, value)
    registry = find_modules()
    assert "speech2text" in registry
    (problem,) = registry.problems
    assert f"'shout' of shouting-plugin ({value}) cannot be loaded" in problem.message
    with pytest.raises(InvalidModule, match="mend or uninstall it"):
        registry.get("shout")


def test_an_unknown_task_lists_the_known():
    with pytest.raises(UnknownModule, match="there are a, b"):
        Registry([scripted("b", [], Reply), scripted("a", [], Reply)]).get("c")


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownModule, match="did you mean 'speech2text'"):
        find_modules().get("speech2txt")


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

    with pytest.raises(InvalidModule, match="no async generator"):
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
