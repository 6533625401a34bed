"""The seed's Python declarations are read as data, and written as TOML that means the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.clusters import Cluster, Component, ComponentType, load_cluster
from turnlab.clusters.budget import read_limit, voice_to_voice
from turnlab.clusters.declaration import RESERVED, make_cluster
from turnlab.clusters.seed import LIMIT_BYTES, read_declarations
from turnlab.clusters.writer import to_toml
from turnlab.errors import InvalidCluster, TurnlabError, UnreadableFile

# The two examples of the seed's documentation, as they are written there.
RAG = '''

"""
Cluster for gpt3.5 model and gpt3.5 with RAG
"""
CLUSTER_GPT_35_RAG_ETE_CONVERSATION_NAME = "CLUSTER_GPT_35_RAG_ETE_CONVERSATION"
CLUSTER_GPT_35_RAG_ETE_CONVERSATION = {
    "openai_speech2text": {
        "order": 0,
        "extra_params": {},
        "component_type": "task",
        "task_name": "openai_speech2text",
    },
    "completed_openai_speech2text": {
        "order": 1,
        "extra_params": {},
        "component_type": "signal",
        "task_name": None,
    },
    "created_data_text": {
        "order": 2,
        "extra_params": {},
        "component_type": "signal",
        "task_name": None,
    },
    "completed_rag": {
        "order": 3,
        "extra_params": {},
        "component_type": "task",
        "task_name": "rag",
    },
    "completed_openai_gpt_35": {
        "order": 4,
        "extra_params": {
            "prompt_template": """{text}""",
        },
        "component_type": "task",
        "task_name": "openai_gpt_35",
    },
    "completed_openai_text2speech": {
        "order": 5,
        "extra_params": {},
        "component_type": "task",
        "task_name": "openai_text2speech",
    },
}
'''

VOICE = """CLUSTER_VOICE_ETE_CONVERSATION_NAME = "CLUSTER_VOICE_ETE_CONVERSATION"

CLUSTER_VOICE_ETE_CONVERSATION = {
    "image2text": {
        "order": 0,
        "extra_params": {},
        "component_type": "task",
        "task_name": image2text,
    },
    "completed_image2text": {
        "order": 1,
        "extra_params": {},
        "component_type": "signal",
        "task_name": None,
    },
    "completed_voice2voice": {
        "order": 2,
        "extra_params": {},
        "component_type": "task",
        "task_name": "voice2voice",
    },
}

CLUSTERS = {
    # ...
    CLUSTER_VOICE_ETE_CONVERSATION_NAME: CLUSTER_VOICE_ETE_CONVERSATION,
}
"""

ONE = '{"a": {"order": 0, "component_type": "task", "task_name": "a", "extra_params": {}}}'


def read(folder: Path, text: str | bytes) -> list[Cluster]:
    return list(declared(folder, text).clusters)


def declared(folder: Path, text: str | bytes) -> Any:
    path = folder / "clusters.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_declarations(path)


def params(folder: Path, value: str, before: str = "") -> Any:
    """What the expression `value` of a parameter is read as."""
    row = f'"order": 0, "task_name": "a", "extra_params": {{"p": {value}}}'
    (cluster,) = read(folder, f'{before}\nCLUSTERS = {{"X": {{"a": {{{row}}}}}}}')
    return cluster.components[0].params["p"]


def test_the_seeds_example_is_read_unchanged(tmp_path):
    (cluster,) = read(tmp_path, RAG)
    scope: dict[str, Any] = {}
    exec(RAG, scope)  # what the seed itself makes of it
    name = "CLUSTER_GPT_35_RAG_ETE_CONVERSATION"
    assert cluster.content_hash == Cluster.from_dict(name, scope[name]).content_hash


def test_the_demonstrations_bare_name_is_read_as_text_with_a_warning(tmp_path):
    found = declared(tmp_path, VOICE)
    (cluster,) = found.clusters
    assert cluster.name == "CLUSTER_VOICE_ETE_CONVERSATION"
    assert [c.task_name for c in cluster.components] == ["image2text", None, "voice2voice"]
    (warning,) = found.warnings
    assert warning.endswith(
        "clusters.py:8: image2text is not defined; read as the text 'image2text'"
    )


def test_only_what_the_table_names_is_read(tmp_path):
    found = declared(tmp_path, f'A_NAME = "A"\nA = {ONE}\nB = {ONE}\nCLUSTERS = {{A_NAME: A}}')
    assert [cluster.name for cluster in found.clusters] == ["A"]
    assert "B is not in CLUSTERS; left out" in found.warnings[0]


def test_without_a_table_dicts_that_are_clusters_are_read(tmp_path):
    text = f'A_NAME = "FIRST"\nA = {ONE}\nSECOND = {ONE}\nCOLOURS = {{"red": {{"r": 1}}}}\nX = {{}}'
    assert [cluster.name for cluster in read(tmp_path, text)] == ["FIRST", "SECOND"]


def test_names_stand_for_what_they_were_when_they_were_used(tmp_path):
    text = f"A = {ONE}\nCLUSTERS = {{'X': A}}\nA = 1"
    assert read(tmp_path, text)[0].component("a").task_name == "a"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"text"', "text"),
        ('"""two\nlines"""', "two\nlines"),
        ('"joined " "text"', "joined text"),
        ("1", 1),
        ("-1.5", -1.5),
        ("True", True),
        ("[1, [2, 'x']]", [1, [2, "x"]]),
        ("(1, 2)", [1, 2]),
        ("{'a': {'b': 1}}", {"a": {"b": 1}}),
        ("SHARED", {"x": 1}),
    ],
)
def test_plain_data_is_read_as_it_is_meant(tmp_path, written, meant):
    assert params(tmp_path, written, "SHARED = {'x': 1}") == meant


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("open('/etc/passwd').read()", "a Call is not plain data"),
        ("__import__('os').system('true')", "a Call is not plain data"),
        ("[x for x in range(3)]", "a ListComp is not plain data"),
        ("{x: x for x in 'ab'}", "a DictComp is not plain data"),
        ("f'{1}'", "a JoinedStr is not plain data"),
        ("1 + 1", "a BinOp is not plain data"),
        ("lambda: 1", "a Lambda is not plain data"),
        ("(x := 1)", "a NamedExpr is not plain data"),
        ("b'bytes'", "a Constant is not plain data"),
        ("...", "a Constant is not plain data"),
        ("1j", "a Constant is not plain data"),
        ("0x" + "f" * 5000, "a Constant is not plain data"),
        ("{1, 2}", "a Set is not plain data"),
        ("{1: 2}", "the key 1 is no text"),
        ("{'a': 1, 'a': 2}", "the key 'a' is there twice"),
        ("{**SHARED}", "a dict is unpacked here"),
        ("unknown", "unknown is not data of this file"),
        ("json", "json is not data of this file"),
        ("json.dumps", "a Attribute is not plain data"),
        ("[" * 50 + "]" * 50, "too much in one value"),
    ],
)
def test_anything_else_is_refused_with_file_and_line(tmp_path, written, says):
    with pytest.raises(InvalidCluster) as caught:
        params(tmp_path, written, "import json\nSHARED = {}\n")
    assert says in caught.value.message
    assert f"{tmp_path / 'clusters.py'}:4: " in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "declares no Cluster"),
        ("x = 1", "declares no Cluster"),
        ("CLUSTERS = {}", "declares no Cluster"),
        ("CLUSTERS = load()", ":1: CLUSTERS is no dict"),
        ("CLUSTERS = {'X': 1}", ":1: X is no dict"),
        ("CLUSTERS = {'X': load()}", ":1: X is no dict"),
        (f"CLUSTERS = {{1: {ONE}}}", ":1: the key 1 is no text"),
        (f"CLUSTERS = {{'X': {ONE}, 'X': {ONE}}}", "X is there twice"),
        (f"CLUSTERS = {{'a b': {ONE}}}", "cannot be named 'a b'"),
        (f"CLUSTERS = {{'X': {ONE}}}\nCLUSTERS['Y'] = {{}}", ":2: this would change CLUSTERS"),
        (f"A = {ONE}\nCLUSTERS = {{'X': A}}\nA.update(b=1)", ":3: this would change A"),
        (f"A = {ONE}\nCLUSTERS = {{'X': A}}\nif True:\n    del A['a']", ":3: this would change A"),
        ("CLUSTERS = {'X': {'a': {'order': 0}}}", ":1: component 'a' has no task_name"),
        ("CLUSTERS = {'X': {'': {'order': 0, 'task_name': 'a'}}}", "without a name"),
        ("from image2text import image2text\n" + VOICE, "image2text is not data of this file"),
        ("def image2text(): ...\n" + VOICE, "image2text is not data of this file"),
        ("x = = 1", ":1 is not Python"),
        (b"\x00", "not Python"),
        (b"# coding: latin-9000\n", "not Python"),
        (b"\xff\xfe", "not Python"),
        ("-" * 100_000 + "1", "not Python that can be read"),
        ("x = 1" + "+1" * 100_000, "not Python that can be read"),
        ("x" * (LIMIT_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, text, says):
    with pytest.raises(InvalidCluster) as caught:
        declared(tmp_path, text)
    assert says in caught.value.message
    assert str(tmp_path / "clusters.py") in caught.value.message


def test_names_that_multiply_end_soon(tmp_path):
    doubled = "".join(f"a{n + 1} = [a{n}, a{n}]\n" for n in range(30))
    with pytest.raises(InvalidCluster, match="too much"):
        params(tmp_path, "a30", f"a0 = []\n{doubled}")


def test_nothing_is_run(tmp_path):
    text = (
        f"open({str(tmp_path / 'made')!r}, 'w')\nprint('x')\nimport this\nCLUSTERS = {{'X': {ONE}}}"
    )
    found = declared(tmp_path, text)
    assert not (tmp_path / "made").exists()
    assert found.warnings[0].endswith("nothing is run; passed over what begins in 1, 2")


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_declarations(tmp_path / "absent.py")


@pytest.mark.parametrize("value", [None, 2**63, object(), "\ud800", {1: 2}, [None]])
def test_what_toml_cannot_hold_names_the_component(value):
    cluster = make_cluster("X", [Component(name="a", task_name="a", params={"p": value})])
    with pytest.raises(InvalidCluster, match="component 'a' has a parameter that TOML cannot"):
        to_toml(cluster)


def test_what_would_be_too_large_to_load_is_not_written():
    text = "x" * 300_000
    cluster = make_cluster("X", [Component(name="a", task_name="a", params={"p": text})])
    with pytest.raises(InvalidCluster, match="too large"):
        to_toml(cluster)


NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name not in RESERVED)
LIMITS = st.floats(0.001, 1e6).map(voice_to_voice) | st.sampled_from(
    [read_limit(text) for text in ("wer <= 10 %", "completed > .9", "stt.model.p50 < 80ms")]
)
VALUES = st.recursive(
    st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    made: list[Component] = []
    for place, name in enumerate(names):
        signal = place > 0 and draw(st.booleans())
        earlier = [component.name for component in made if component.is_task]
        after = draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
        made.append(
            Component(
                name=name,
                component_type=ComponentType.SIGNAL if signal else ComponentType.TASK,
                task_name=None if signal else draw(NAMES),
                params=draw(st.dictionaries(st.text(), VALUES, max_size=3)),
                after=tuple(after),
                timeout_s=draw(st.none() | st.floats(0.001, 1e6)),
            )
        )
    return make_cluster(
        draw(st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)),
        made,
        description=draw(st.text()),
        budget=draw(st.lists(LIMITS, max_size=3).map(tuple)),
    )


@settings(deadline=None)
@given(cluster=clusters(), note=st.text(st.characters(categories=["L", "N", "Zs"])))
def test_what_is_written_loads_back_as_the_same_cluster(tmp_path_factory, cluster, note):
    path = tmp_path_factory.mktemp("toml") / "cluster.toml"
    path.write_text(to_toml(cluster, note), encoding="utf-8", newline="\n")
    loaded = load_cluster(path)
    assert loaded.content_hash == cluster.content_hash
    assert loaded.components == cluster.components
    assert (loaded.description, loaded.budget) == (cluster.description, cluster.budget)


SEED_VALUES = st.recursive(
    st.text() | st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans() | st.floats(0, 1e300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {
            "order": st.integers(0, 9) | st.floats(-9, 9),
            "task_name": NAMES,
            "component_type": st.just("task"),
            "extra_params": st.dictionaries(st.text(), SEED_VALUES, max_size=3),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(rows=ROWS)
def test_any_dict_survives_the_way_from_python_to_toml(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("seed")
    (cluster,) = read(folder, f"CLUSTERS = {{'X': {rows!r}}}")
    assert cluster.content_hash == Cluster.from_dict("X", rows).content_hash
    (folder / "x.toml").write_text(to_toml(cluster), encoding="utf-8", newline="\n")
    assert load_cluster(folder / "x.toml").content_hash == cluster.content_hash


@settings(deadline=None)
@given(text=st.text())
def test_any_file_is_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    with suppress(TurnlabError):
        declared(folder, text.encode("utf-8", "surrogatepass"))
