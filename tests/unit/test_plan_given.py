"""Plans of turns that begin with something else than speech, or end before it."""

from __future__ import annotations

import pytest

from turnlab.chunks import (
    Audio,
    Caption,
    Emotion,
    Image,
    Passages,
    Reply,
    Speech,
    Transcript,
    Value,
)
from turnlab.clusters import find_clusters, make_plan
from turnlab.clusters.declaration import Component, make_cluster
from turnlab.clusters.single import single
from turnlab.errors import ClusterNotRunnable, InvalidCluster, InvalidParams
from turnlab.modules.registry import Registry, find_modules
from turnlab.profiles import USER
from turnlab.testing.rig import Rig, cluster_of
from turnlab.testing.scripted import Each, scripted

EARS = scripted("ears", [Audio], Transcript)
EYES = scripted("eyes", [Image], Caption)
MOOD = scripted("mood", [Audio], Emotion, uses=(Transcript,))
LIBRARY = scripted("library", [Transcript], Passages)
BRAIN = scripted("brain", [Transcript], Reply, uses=(Caption, Emotion, Passages))
VOICE = scripted("voice", [Reply], Speech)
WHOLE = (EARS, MOOD, LIBRARY, BRAIN, VOICE)


def planned(*modules, given=(Transcript,), wanted=None, **changes):
    cluster = cluster_of(*modules, **changes)
    return make_plan(cluster, Registry(modules), given=given, wanted=wanted)


def names(plan):
    return [step.name for step in plan.steps]


def test_with_speech_everything_runs():
    plan = planned(*WHOLE, given=(Audio,))
    assert names(plan) == ["ears", "mood", "library", "brain", "voice"]
    assert plan.left_out == {}


def test_with_text_what_hears_is_left_out_and_named():
    plan = planned(*WHOLE)
    assert names(plan) == ["library", "brain", "voice"]
    assert plan.left_out == {
        "ears": "it makes Transcript, which is given",
        "mood": "it needs Audio, which is not given",
    }
    assert plan.steps[1].reads == {Transcript: USER, Passages: "library"}


def test_with_a_reply_all_before_the_voice_is_left_out():
    plan = planned(*WHOLE, given=(Reply,))
    assert names(plan) == ["voice"]
    assert plan.left_out["library"] == "it needs Transcript, which is not given"
    assert plan.left_out["brain"] == "it makes Reply, which is given"


def test_pictures_go_with_a_text():
    plan = planned(EARS, EYES, BRAIN, given=(Transcript, Image))
    assert names(plan) == ["eyes", "brain"]
    with pytest.raises(ClusterNotRunnable, match="eyes of CLUSTER_TEST needs a picture"):
        planned(EARS, EYES, BRAIN, given=(Transcript,))


def test_what_refines_what_is_given_stays():
    spelling = scripted("spelling", [Transcript], Transcript)
    plan = planned(EARS, spelling, BRAIN)
    assert names(plan) == ["spelling", "brain"]
    assert plan.steps[1].reads == {Transcript: "spelling"}


def test_what_comes_from_what_is_left_out_is_left_out_too():
    diary = scripted("diary", [Emotion], Value)
    plan = planned(EARS, MOOD, diary, BRAIN)
    assert names(plan) == ["brain"]
    assert plan.left_out["diary"] == "it needs Emotion, which mood would make"


@pytest.mark.parametrize(
    "modules",
    [
        (scripted("phone", [Audio], Speech),),
        (EARS, BRAIN, scripted("echo", [Reply, Audio], Speech)),
        (EARS, MOOD, scripted("feeling", [Transcript, Emotion], Reply), VOICE),
    ],
)
def test_a_cluster_whose_reply_needs_speech_is_refused(modules):
    with pytest.raises(ClusterNotRunnable, match="cannot do without speech") as caught:
        planned(*modules)
    assert caught.value.component in ("phone", "echo", "feeling")


def test_a_cluster_that_would_do_nothing_is_refused():
    with pytest.raises(ClusterNotRunnable, match="CLUSTER_TEST does nothing with Transcript"):
        planned(EARS, MOOD)


def test_what_is_wired_wrongly_is_told_with_text_too():
    with pytest.raises(InvalidCluster, match="needs Reply; put brain before it"):
        planned(EARS, VOICE, BRAIN)


def test_what_is_left_out_is_checked_all_the_same():
    with pytest.raises(InvalidParams, match=r"'ears'.*no parameter 'volume'"):
        planned(*WHOLE, ears={"params": {"volume": 1}})


def test_only_what_is_wanted_and_what_it_comes_from_runs():
    diary = scripted("diary", [Transcript], Value)
    modules = (EARS, EYES, diary, MOOD, BRAIN, VOICE)
    heard = planned(*modules, given=(Audio,), wanted=Transcript)
    assert names(heard) == ["ears"]
    assert heard.left_out["voice"] == "no Transcript comes from it"
    written = planned(*modules, given=(Transcript, Image), wanted=Reply)
    assert names(written) == ["eyes", "brain"]


def test_what_the_wanted_comes_after_runs():
    after = {"brain": {"after": ("guard",)}}
    guard = scripted("guard", [Transcript], Value)
    plan = planned(EARS, guard, BRAIN, VOICE, wanted=Reply, **after)
    assert names(plan) == ["guard", "brain"]


def test_a_cluster_that_does_not_make_what_is_wanted_is_refused():
    with pytest.raises(ClusterNotRunnable, match="CLUSTER_TEST makes no Reply"):
        planned(EARS, LIBRARY, wanted=Reply)


def test_a_component_may_come_after_one_that_is_left_out():
    plan = planned(EARS, BRAIN, brain={"after": ("ears",)})
    assert names(plan) == ["brain"]


async def test_a_text_runs_through_a_cluster():
    brain = scripted("brain", [Transcript], Reply, Each(Transcript, lambda t: Reply(text=t.text)))
    given = (Transcript,)
    rig = Rig(EARS, brain, cluster=cluster_of(EARS, brain, brain={"after": ("ears",)}), given=given)
    result = await rig.run(Transcript(text="Hello?", final=True), speech_s=None)
    assert (result.error, result.reply) == (None, "Hello?")


@pytest.mark.parametrize(
    "name",
    [
        "CLUSTER_Q_ETE_CONVERSATION",
        "CLUSTER_HF_ETE_CONVERSATION",
        "CLUSTER_GPT_35_ETE_CONVERSATION",
    ],
)
def test_the_built_in_clusters_with_a_language_model_take_text(name):
    plan = make_plan(find_clusters().get(name), find_modules(), given=(Transcript, Image))
    assert {step.produces for step in plan.steps} >= {Reply, Speech}


def test_the_built_in_cluster_without_one_does_not():
    cluster = find_clusters().get("CLUSTER_VOICE_ETE_CONVERSATION")
    with pytest.raises(ClusterNotRunnable, match="voice2voice of CLUSTER_VOICE"):
        make_plan(cluster, find_modules(), given=(Transcript, Image))


def test_a_module_alone_is_a_cluster_of_one_component():
    cluster = single("brain", {"temperature": 0})
    assert cluster.name == "MODULE_brain"
    component = Component(name="brain", task_name="brain", params={"temperature": 0})
    assert cluster == make_cluster("MODULE_brain", [component])
    plan = make_plan(single("brain"), Registry([BRAIN]), given=(Transcript,))
    assert names(plan) == ["brain"]


@pytest.mark.parametrize("name", ["two words", "naïve", "", "x" * 122])
def test_what_cannot_be_a_component_is_refused(name):
    with pytest.raises(InvalidCluster):
        single(name)
