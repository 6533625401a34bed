"""The Router: what comes next, with the meaning that the seed gave it."""

from __future__ import annotations

import pytest

from tests.unit.test_clusters import seed
from turnlab.clusters import Catalogue, Cluster, ClusterManager
from turnlab.errors import InvalidTrackId, UnknownCluster, UnknownComponent
from turnlab.tracks import new_track_id

NAME = "CLUSTER_GPT_35_RAG_ETE_CONVERSATION"


@pytest.fixture
def tasks() -> list:
    return []


@pytest.fixture
def manager(tasks) -> ClusterManager:
    return ClusterManager(Catalogue([seed()]), on_task=tasks.append)


def test_a_cluster_is_found_by_name(manager):
    assert manager.get_cluster(NAME).name == NAME
    assert manager.get_cluster("CLUSTER_X") is None
    assert manager.get_next("CLUSTER_X", "init") is None


@pytest.mark.parametrize(
    ("current", "following"),
    [
        ("init", "openai_speech2text"),
        ("openai_speech2text", "completed_openai_speech2text"),
        ("completed_openai_speech2text", "created_data_text"),
        ("created_data_text", "completed_rag"),
        ("completed_rag", "completed_openai_gpt_35"),
        ("rag", "completed_openai_gpt_35"),
        ("openai_gpt_35", "completed_openai_text2speech"),
        ("completed_openai_text2speech", None),
    ],
)
def test_the_chain_is_that_of_the_seed(manager, current, following):
    name, component = manager.get_next(NAME, current)
    assert name == following
    assert (component is None) if following is None else (component.name == following)


def test_an_unknown_component_is_an_error_that_lists_the_known(manager, tasks):
    with pytest.raises(UnknownComponent, match="it has openai_speech2text"):
        manager.get_next(NAME, "weather")
    assert tasks == []


def test_asking_for_the_next_creates_nothing(manager, tasks):
    before = seed()
    manager.get_next(NAME, "init")
    manager.get_next_chain_component(manager.get_cluster(NAME), "rag")
    assert tasks == []
    assert manager.get_cluster(NAME) == before


def test_chaining_creates_the_next_task_with_the_components_own_parameters(manager, tasks):
    track_id = new_track_id(NAME)
    given = {"prompt_template": "mine", "text": "hello"}
    task_id = manager.chain_next(track_id, "completed_rag", given)
    assert [task.id for task in tasks] == [task_id]
    assert tasks[0].task_name == "openai_gpt_35"
    assert tasks[0].parameters == {"prompt_template": "{text}", "text": "hello"}
    assert tasks[0].track_id == track_id
    assert tasks[0].status == "pending"
    assert given["prompt_template"] == "mine"


def test_chaining_passes_signals(manager, tasks):
    manager.chain_next(new_track_id(NAME), "openai_speech2text", {})
    assert [task.task_name for task in tasks] == ["rag"]


def test_chaining_starts_with_init_and_ends_with_none(manager, tasks):
    assert manager.chain_next(new_track_id(NAME), "init", {}, name="mine") == tasks[0].id
    assert tasks[0].name == "mine"
    assert manager.chain_next(new_track_id(NAME), "openai_text2speech", {}) is None
    assert len(tasks) == 1


def test_the_name_of_a_cluster_may_be_anything_that_a_track_id_may_hold(tasks):
    rows = {"a_b": {"order": 0, "task_name": "a"}}
    manager = ClusterManager(Catalogue([Cluster.from_dict("_T_x_9_", rows)]), tasks.append)
    assert manager.chain_next(new_track_id("_T_x_9_"), "init", {}) == tasks[0].id


def test_a_track_id_that_is_malformed_or_of_no_cluster_is_refused(manager, tasks):
    with pytest.raises(InvalidTrackId):
        manager.chain_next(f"T-{NAME}-x", "init", {})
    with pytest.raises(UnknownCluster):
        manager.chain_next(new_track_id("CLUSTER_X"), "init", {})
    assert tasks == []
