"""Which models there are: the Modules and Clusters that can run now, by endpoint."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from turnlab.chunks import Audio, Chunk, Image, Reply, Speech, Transcript
from turnlab.clusters.declaration import Cluster
from turnlab.clusters.plan import Plan, Step, lacking, make_plan
from turnlab.clusters.single import single
from turnlab.errors import (
    ClusterNotRunnable,
    InvalidCluster,
    TurnlabError,
    UnsafeSettings,
)
from turnlab.server.node import Node
from turnlab.server.openai_endpoints.failures import BadField, UnknownModel
from turnlab.server.requests import TrackRequest
from turnlab.work import EMBEDDED

NAMES_VARIABLE = "TURNLAB_OPENAI_MODELS"
"""Further names under which models are served: NAME=MODEL, separated by commas."""

CHECK_S = 30.0
"""How long it is taken for granted what a Module misses here."""


class Use(Enum):
    """An endpoint: what the client gives, and what it wants."""

    TRANSCRIBE = ("/v1/audio/transcriptions", Audio, Transcript)
    CHAT = ("/v1/chat/completions", Transcript, Reply)
    SPEAK = ("/v1/audio/speech", Reply, Speech)

    def __init__(self, endpoint: str, given: type[Chunk], wanted: type[Chunk]) -> None:
        self.endpoint = endpoint
        self.given = given
        self.wanted = wanted


@dataclass(frozen=True, kw_only=True)
class Model:
    """A Module or a Cluster as one endpoint uses it."""

    id: str
    """The name that the client gave."""
    use: Use
    cluster: str
    task_name: str
    """Of the Module; empty for a Cluster."""
    plan: Plan

    @property
    def step(self) -> Step:
        """What makes what is wanted."""
        step = self.plan.newest(self.use.wanted)
        assert step is not None, "make_plan says so if there is none"
        return step

    def request(self, params: Mapping[str, Any], **fields: Any) -> TrackRequest:
        """The Track to ask for; `params` are those of the Module that makes what is wanted."""
        overrides = {self.step.name: dict(params)} if params else {}
        return TrackRequest(
            cluster=self.cluster,
            task_name=self.task_name,
            overrides=overrides,
            wanted=self.use.wanted.kind,
            **fields,
        )


class Models:
    """The models of one API process."""

    def __init__(self, node: Node, names: Mapping[str, str]) -> None:
        self.created = int(node.started_at.timestamp())
        self._node = node
        self._names = names
        self._plans: dict[tuple[str, Use, bool], Plan | TurnlabError] = {}
        self._lacking: dict[tuple[str, str], tuple[float, bool]] = {}

    def find(self, name: str, use: Use, *, pictures: bool = False) -> Model:
        """The model of that name for an endpoint.

        Raises UnknownModel, BadField if it is one for another endpoint, ClusterNotRunnable for a
        Cluster that cannot do without speech.
        """
        own = self._names.get(name, name)
        is_module = own in self._node.registry
        if not is_module and self._node.catalogue.find(own) is None:
            raise self._unknown(name)
        try:
            plan = self._plan(own, use, pictures)
        except (ClusterNotRunnable, InvalidCluster) as error:
            if not is_module and use is not Use.SPEAK:
                raise
            told = f"{name} is no model for {use.endpoint} ({error.message})"
            raise BadField("model", f"{told}; GET /v1/models tells which are.") from error
        named = (
            {"cluster": "", "task_name": own} if is_module else {"cluster": own, "task_name": ""}
        )
        return Model(id=name, use=use, plan=plan, **named)

    def endpoints(self, name: str) -> list[str]:
        """The endpoints that take the model and can run it now; empty if there is no such one."""
        own = self._names.get(name, name)
        return [use.endpoint for use in Use if self._runs(own, use)]

    @property
    def names(self) -> list[str]:
        """All that may be models, in order."""
        clusters = [cluster.name for cluster in self._node.catalogue]
        return sorted({*self._names, *clusters, *self._node.registry.task_names})

    def _plan(self, own: str, use: Use, pictures: bool) -> Plan:
        """Made once: neither Modules nor Clusters change while the process runs."""
        key = (own, use, pictures)
        if key not in self._plans:
            try:
                self._plans[key] = self._planned(own, use, pictures)
            except TurnlabError as error:
                self._plans[key] = error
        found = self._plans[key]
        if isinstance(found, TurnlabError):
            raise type(found)(found.message, component=found.component)
        return found

    def _planned(self, own: str, use: Use, pictures: bool) -> Plan:
        given = (use.given, Image) if pictures else (use.given,)
        plan = make_plan(self._cluster(own, use), self._node.registry, None, given, use.wanted)
        lacked = plan.needs - set(given)
        if lacked:
            kinds = " and ".join(sorted(kind.kind for kind in lacked))
            raise ClusterNotRunnable(f"{own} needs {kinds}, which this endpoint does not take.")
        return plan

    def _cluster(self, own: str, use: Use) -> Cluster:
        if own in self._node.registry:
            self._node.registry.get(own)
            return single(own)
        if use is Use.SPEAK:
            raise ClusterNotRunnable(f"{own} is a Cluster; name a Module such as text2speech.")
        return self._node.catalogue.get(own)

    def _runs(self, own: str, use: Use) -> bool:
        for pictures in (False, True) if use is Use.CHAT else (False,):
            try:
                plan = self._plan(own, use, pictures)
            except TurnlabError:
                continue
            if all(self._served(step) for step in plan.steps):
                return True
        return False

    def _served(self, step: Step) -> bool:
        """Whether a connected worker serves it, or this process can."""
        name = step.module.task_name
        links = [link for link in self._node.hub.links if not link.draining and link.places(name)]
        if any(link.id != EMBEDDED for link in links):
            return True
        return bool(links) and not self._lacks(step)

    def _lacks(self, step: Step) -> bool:
        key = (step.module.task_name, step.params.model_dump_json())
        now_s = time.monotonic()
        at_s, lacks = self._lacking.get(key, (-CHECK_S, False))
        if now_s - at_s >= CHECK_S:
            lacks = bool(lacking(step.module, step.params))
            self._lacking[key] = (now_s, lacks)
        return lacks

    def _unknown(self, name: str) -> UnknownModel:
        near = difflib.get_close_matches(name[:200], self.names, n=1)
        hint = f"did you mean {near[0]}?" if near else "GET /v1/models lists those there are."
        return UnknownModel(f"There is no model {name[:200]!r}; {hint}")


@lru_cache(maxsize=1)
def models_of(node: Node) -> Models:
    """The models of `node`. Raises UnsafeSettings if its further names cannot be read."""
    return Models(node, read_names(os.environ.get(NAMES_VARIABLE, "")))


def read_names(text: str) -> dict[str, str]:
    """Further names of models, such as `whisper-1=speech2text`. Raises UnsafeSettings."""
    names = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, own = (part.strip() for part in entry.partition("="))
        if not (name and equals and own):
            raise UnsafeSettings(
                f"{NAMES_VARIABLE}: {entry[:100]!r} is no NAME=MODEL such as whisper-1=speech2text."
            )
        names[name] = own
    return names
