"""Clusters from the seed's dicts and from TOML: read as meant, refused with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from turnlab.chunks import Audio, Image, Passages, Reply, Speech, Transcript
from turnlab.clusters import (
    Cluster,
    Component,
    ComponentType,
    find_clusters,
    load_cluster,
    make_plan,
)
from turnlab.clusters.declaration import check_signals, make_cluster
from turnlab.clusters.plan import lacking, require_speech
from turnlab.errors import (
    ClusterNotRunnable,
    InvalidCluster,
    InvalidParams,
    UnknownCluster,
    UnreadableFile,
)
from turnlab.modules.base import NoParams
from turnlab.modules.registry import Registry
from turnlab.testing import scripted

# The two dicts of the seed, as they are written there.
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

image2text = "image2text"
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


class Prompted(NoParams):
    prompt_template: str = "{text}"
    temperature: float = 0.0


REGISTRY = Registry(
    [
        scripted("openai_speech2text", [Audio], Transcript),
        scripted("rag", [Transcript], Passages),
        scripted("openai_gpt_35", [Transcript], Reply, uses=(Passages,), Params=Prompted),
        scripted("openai_text2speech", [Reply], Speech),
    ]
)


def seed() -> Cluster:
    return Cluster.from_dict(
        "CLUSTER_GPT_35_RAG_ETE_CONVERSATION", CLUSTER_GPT_35_RAG_ETE_CONVERSATION
    )


def test_the_seeds_dict_loads_unchanged():
    cluster = seed()
    assert [component.name for component in cluster.components] == list(
        CLUSTER_GPT_35_RAG_ETE_CONVERSATION
    )
    assert [component.is_task for component in cluster.components] == [True, False, False] + [
        True
    ] * 3
    assert cluster.components[4].params == {"prompt_template": "{text}"}


def test_the_seeds_dict_is_wired_by_kind():
    plan = make_plan(seed(), REGISTRY)
    reads = {step.name: {k.kind: p for k, p in step.reads.items()} for step in plan.steps}
    assert reads == {
        "openai_speech2text": {"Audio": "user"},
        "completed_rag": {"Transcript": "openai_speech2text"},
        "completed_openai_gpt_35": {
            "Transcript": "openai_speech2text",
            "Passages": "completed_rag",
        },
        "completed_openai_text2speech": {"Reply": "completed_openai_gpt_35"},
    }
    assert plan.needs == {Audio}


def test_the_seeds_second_dict_loads_unchanged():
    cluster = Cluster.from_dict("CLUSTER_VOICE_ETE_CONVERSATION", CLUSTER_VOICE_ETE_CONVERSATION)
    registry = Registry(
        [
            scripted("image2text", [Image], Transcript),
            scripted("voice2voice", [Audio, Transcript], Speech),
        ]
    )
    assert make_plan(cluster, registry).needs == {Audio, Image}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("rag", "completed_rag"),
        ("completed_rag", "completed_rag"),
        ("openai_speech2text", "openai_speech2text"),
        ("completed_openai_speech2text", "completed_openai_speech2text"),
        ("completed_created_data_text", "created_data_text"),
    ],
)
def test_completed_x_and_x_mean_each_other_where_only_one_is(asked, found):
    assert seed().component(asked).name == found


def test_equal_orders_are_chained_as_written():
    row = {"component_type": "task"}
    mapping = {
        "c": {"order": 1, "task_name": "c", **row},
        "b": {"order": 0, "task_name": "b", **row},
        "a": {"order": 1, "task_name": "a", **row},
    }
    assert [c.name for c in Cluster.from_dict("X", mapping).components] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"task_name": "rag"}, "has no order; give it a number"),
        ({"order": "1", "task_name": "rag"}, "has no order"),
        ({"order": True, "task_name": "rag"}, "has no order"),
        ({"order": float("nan"), "task_name": "rag"}, "has no order"),
        ({"order": 0}, "has no task_name; name the task"),
        ({"order": 0, "component_type": "hook"}, "write 'task' or 'signal'"),
        ({"order": 0, "task_name": "rag", "extra_parms": {}}, "extra_parms"),
        ({"order": 0, "task_name": "rag", "extra_params": "x"}, "no mapping"),
        (None, "is no mapping"),
    ],
)
def test_a_dict_that_is_wrong_names_the_component_and_the_remedy(row, says):
    with pytest.raises(InvalidCluster, match="component 'asked'") as caught:
        Cluster.from_dict("CLUSTER_X", {"asked": row})
    assert says in caught.value.message
    assert "CLUSTER_X" in caught.value.message


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


RAG = """
name = "CLUSTER_MINE"
[budget]
voice_to_voice_s = 1.5
[[component]]
task = "openai_speech2text"
[[component]]
signal = "created_data_text"
[[component]]
task = "openai_gpt_35"
name = "brain"
params = { prompt_template = "{text} {passages}" }
timeout_s = 5
[[component]]
task = "openai_text2speech"
"""


def test_a_toml_file_declares_a_cluster(tmp_path):
    cluster = load_cluster(write(tmp_path, RAG))
    names = [component.name for component in cluster.components]
    assert names == ["openai_speech2text", "created_data_text", "brain", "openai_text2speech"]
    assert (cluster.budget_s, cluster.component("brain").timeout_s) == (1.5, 5)
    require_speech(make_plan(cluster, REGISTRY))


def test_the_hash_is_of_what_the_cluster_does(tmp_path):
    first = load_cluster(write(tmp_path, RAG)).content_hash
    assert load_cluster(write(tmp_path, f"# a remark\n{RAG}")).content_hash == first
    assert load_cluster(write(tmp_path, RAG.replace("5", "6"))).content_hash != first
    assert len(first) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "is not TOML"),
        ('name = "X"', "component"),
        ('nam = "X"\n[[component]]\ntask="rag"', "name"),
        ('name = "X Y"\n[[component]]\ntask="rag"', "use 1 to 128 of A-Z"),
        ('name = "X"\n[[component]]\nname="a"', "neither a task nor a signal"),
        ('name = "X"\n[[component]]\ntask="a"\nsignal="b"', "neither a task nor a signal"),
        ('name = "X"\n[[component]]\nsignal="b"', "has no task"),
        ('name = "X"\n[[component]]\ntask="a"\n[[component]]\ntask="a"', "give one another name"),
        ('name = "X"\n[[component]]\ntask="a"\nafter=["b"]', "comes after 'b'; name one of a"),
        ('name = "X"\n[[component]]\ntask="a"\nafter=["a"]', "break the circle"),
        (
            'name="X"\n[[component]]\ntask="a"\nafter=["b"]\n[[component]]\ntask="b"\nafter=["a"]',
            "break the circle",
        ),
        ('name = "X"\n[[component]]\ntask="a"\nname="user"', "reserved"),
        ('name = "X"\n[[component]]\ntask="a"\nparam={}', "param"),
        ('name = "X"\n[[component]]\ntask="a"\ntimeout_s=0', "timeout_s"),
        ('name = "X"\n[[component]]\ntask="a"\ntimeout_s=nan', "timeout_s"),
        ('name = "X"\n[budget]\nvoice_to_voice=1\n[[component]]\ntask="a"', "voice_to_voice"),
        ("a = " + "[" * 100_000, "nests too deeply"),
        ("#" * 300_000, "larger than"),
    ],
)
def test_a_file_that_is_wrong_names_itself_and_the_remedy(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(InvalidCluster) as caught:
        load_cluster(path)
    assert says in caught.value.message
    assert str(path) in caught.value.message


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCluster, match="is not TOML"):
        load_cluster(path)


@pytest.mark.parametrize("path", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_says_so(tmp_path, path):
    with pytest.raises(UnreadableFile, match="cannot be read"):
        load_cluster(tmp_path / path)


def test_after_overrides_the_order_of_the_file():
    components = [
        Component(name="a", task_name="a", after=("c",)),
        Component(name="b", task_name="b"),
        Component(name="c", task_name="c"),
    ]
    assert [c.name for c in make_cluster("X", components).components] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("change", "says", "error"),
    [
        (("openai_gpt_35", "openai_gpt_3"), "did you mean 'openai_gpt_35'?", InvalidCluster),
        (("openai_gpt_35", "weather"), "--modules", InvalidCluster),
        (("{text} {passages}", "{txet}"), "use {text}", InvalidCluster),
        (("{text} {passages}", "{}"), "unknown template field", InvalidCluster),
        (("{text} {passages}", "{text.__class__}"), "unknown template field", InvalidCluster),
        (("{text} {passages}", "{text:{history}}"), "use it plainly", InvalidCluster),
        (("{text} {passages}", "{text!r}"), "use it plainly", InvalidCluster),
        (("{text} {passages}", "{text:>9999999999}"), "use it plainly", InvalidCluster),
        (("{text} {passages}", "{text"), "double the braces", InvalidCluster),
        (("prompt_template", "promt_template"), "did you mean 'prompt_template'?", InvalidParams),
        (('prompt_template = "{text} {passages}"', 'temperature="hot"'), "number", InvalidParams),
    ],
)
def test_a_plan_that_cannot_work_names_file_component_and_remedy(tmp_path, change, says, error):
    path = write(tmp_path, RAG.replace(*change))
    with pytest.raises(error) as caught:
        make_plan(load_cluster(path), REGISTRY)
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert "'brain'" in caught.value.message
    assert caught.value.component == "brain"


def test_braces_that_are_doubled_are_no_field(tmp_path):
    make_plan(load_cluster(write(tmp_path, RAG.replace("{passages}", "{{json}}"))), REGISTRY)


def test_a_missing_kind_names_what_would_make_it(tmp_path):
    text = RAG.replace('[[component]]\ntask = "openai_speech2text"\n', "")
    with pytest.raises(InvalidCluster, match="needs Transcript; put openai_speech2text before it"):
        make_plan(load_cluster(write(tmp_path, text)), REGISTRY)


def test_a_kind_that_the_user_does_not_give_is_missing(tmp_path):
    with pytest.raises(InvalidCluster, match="needs Audio; add a Module for it"):
        make_plan(load_cluster(write(tmp_path, RAG)), REGISTRY, given=(Image,))


def test_overrides_win_and_are_checked(tmp_path):
    cluster = load_cluster(write(tmp_path, RAG))
    plan = make_plan(cluster, REGISTRY, {"brain": {"temperature": 0.5}})
    assert plan.steps[1].params.temperature == 0.5
    with pytest.raises(InvalidParams, match="no component 'brian'; it has"):
        make_plan(cluster, REGISTRY, {"brian": {}})
    with pytest.raises(InvalidParams, match="no component 'created_data_text'"):
        make_plan(cluster, REGISTRY, {"created_data_text": {}})


def test_the_newest_earlier_producer_is_read():
    modules = [
        scripted("first", [Audio], Reply),
        scripted("second", [Reply], Reply),
        scripted("voice", [Reply], Speech),
    ]
    components = [Component(name=m.task_name, task_name=m.task_name) for m in modules]
    plan = make_plan(make_cluster("X", components), Registry(modules))
    assert [step.reads for step in plan.steps[1:]] == [{Reply: "first"}, {Reply: "second"}]
    assert plan.newest(Reply).name == "second"


def test_a_cluster_without_speech_is_told_so():
    cluster = make_cluster("X", [Component(name="rag", task_name="openai_speech2text")])
    with pytest.raises(ClusterNotRunnable, match="makes no Speech"):
        require_speech(make_plan(cluster, REGISTRY))


def all_lacking(plan):
    return [what for step in plan.steps for what in lacking(step.module, step.params)]


def test_what_is_missing_here_is_told():
    module = scripted("ears", [Audio], Transcript, missing=classmethod(lambda c, p: ["install x"]))
    cluster = make_cluster("X", [Component(name="ears", task_name="ears")])
    assert all_lacking(make_plan(cluster, Registry([module]))) == ["install x"]
    assert all_lacking(make_plan(seed(), REGISTRY)) == []


def test_a_module_that_fails_when_it_is_asked_what_it_misses_is_told_so():
    def missing(cls, params):
        raise ValueError("no idea")

    module = scripted("ears", [Audio], Transcript, missing=classmethod(missing))
    cluster = make_cluster("X", [Component(name="ears", task_name="ears")])
    assert "no idea" in all_lacking(make_plan(cluster, Registry([module])))[0]


def test_there_are_built_in_clusters():
    names = {cluster.name for cluster in find_clusters()}
    assert "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION" in names


def test_a_folder_adds_and_replaces_clusters(tmp_path):
    write(tmp_path, RAG.replace("CLUSTER_MINE", "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"))
    catalogue = find_clusters([tmp_path])
    assert catalogue.get("CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION").budget_s == 1.5
    with pytest.raises(UnknownCluster, match="did you mean CLUSTER_Q_NO_EMOTION"):
        catalogue.get("CLUSTER_Q_NO_EMOTION_CONVERSATION")
    with pytest.raises(UnreadableFile, match="no folder"):
        find_clusters([tmp_path / "absent"])


TASK = '[[component]]\ntask = "speech2text"\n'


def test_two_clusters_of_one_folder_cannot_share_a_name(tmp_path):
    for name, cluster in (("one", "TWIN"), ("other", "OTHER"), ("two", "TWIN")):
        (tmp_path / f"{name}.toml").write_text(f'name = "{cluster}"\n{TASK}')
    catalogue = find_clusters([tmp_path])
    with pytest.raises(InvalidCluster, match=r"two\.toml declares TWIN, as .*one\.toml"):
        catalogue.get("TWIN")
    assert catalogue.get("OTHER").name == "OTHER"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("this is no TOML", None),
        ("name = ", None),
        ('name = "MINE"\n[[component]\ntask = "rag"', "MINE"),
        ("name = 'MINE'\n", "MINE"),
        ('# of mine\n name="MINE"\n[budget]\nvoice = 1\n' + TASK, "MINE"),
        ('[[component]\nname = "brain"\ntask = "rag"', None),
        (f'name = "MINE"\nx = {"9" * 5000}', "MINE"),
        ("\ufeff", None),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_out(tmp_path, text, name):
    path = write(tmp_path, text)
    catalogue = find_clusters([tmp_path])
    (problem,) = catalogue.problems
    assert (problem.source, problem.name) == (str(path), name)
    assert str(path) in problem.error.message
    assert catalogue.get("CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION").budget_s
    if name is not None:
        assert catalogue.find(name) is None
        with pytest.raises(InvalidCluster, match=r"mine\.toml"):
            catalogue.get(name)


def test_a_file_that_cannot_be_used_is_not_replaced_by_the_built_in_cluster(tmp_path):
    name = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
    write(tmp_path, f'name = "{name}"\n')
    with pytest.raises(InvalidCluster, match=r"mine\.toml"):
        find_clusters([tmp_path]).get(name)


def test_a_folder_named_as_a_cluster_file_is_left_out(tmp_path):
    (tmp_path / "x.toml").mkdir()
    assert find_clusters([tmp_path]).problems[0].error.code == "unreadable_file"


def signalled(signal: str, task: str = "rag") -> Cluster:
    rows = [
        Component(name=task, task_name=task),
        Component(name=signal, component_type=ComponentType.SIGNAL),
    ]
    return make_cluster("X", rows)


@pytest.mark.parametrize(
    "signal",
    [
        "created_data_text",
        "completed_task",
        "failed_track",
        "completed_openai_speech2text",  # of a Module that is registered
        "completed_weather",  # of a task that the Cluster has, known or not
    ],
)
def test_a_signal_that_somebody_sends_is_accepted(signal):
    check_signals(signalled(signal, "weather"), ["openai_speech2text"])


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        ("completed_openai_speech2txt", "did you mean 'completed_openai_speech2text'?"),
        ("created_data_txt", "did you mean 'created_data_text'?"),
        ("complted_rag", "did you mean 'completed_rag'?"),
        ("bell", "there are created_data_text, completed_task"),
    ],
)
def test_a_signal_that_nobody_sends_is_refused_with_the_nearest(signal, says):
    with pytest.raises(InvalidCluster) as caught:
        check_signals(signalled(signal), ["openai_speech2text"])
    assert says in caught.value.message
    assert caught.value.component == signal


def test_the_built_in_clusters_name_signals_that_are_sent():
    for cluster in find_clusters():
        check_signals(cluster, [])


def test_a_component_without_a_name_is_refused():
    with pytest.raises(InvalidCluster, match="without a name"):
        make_cluster("X", [Component(name="", task_name="rag")])


def test_a_component_comes_after_tasks_only():
    mapping = {
        "speech2text": {"order": 0, "task_name": "speech2text"},
        "created_data_text": {"order": 1, "component_type": "signal"},
        "rag": {"order": 2, "task_name": "rag", "after": ["created_data_text"]},
    }
    with pytest.raises(InvalidCluster, match="created_data_text"):
        Cluster.from_dict("X", mapping)


def test_secrets_of_a_cluster_file_are_not_shown():
    class Params(BaseModel):
        base_url: str = ""
        api_key: SecretStr | None = None
        key_variable: str = ""
        extra: dict[str, str] = {}

    module = scripted("reply", [Transcript], Reply, Params=Params)
    shown = module.shown(
        {
            "base_url": "http://user:pw1@host:1/v1?key=pw2",
            "api_key": "pw3",
            "api_kye": "pw4",
            "key_variable": "MY_KEY",
            "extra": {"api_key": "pw5", "seed": "1"},
        }
    )
    assert "pw" not in str(shown)
    assert shown["key_variable"] == "MY_KEY"
    assert shown["extra"]["seed"] == "1"
    assert shown["base_url"].startswith("http://**********@host:1/v1?")
