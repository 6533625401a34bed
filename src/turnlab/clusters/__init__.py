"""Clusters: named pipelines, how they are declared, checked, wired and routed."""

from turnlab.clusters.catalogue import Catalogue, find_clusters
from turnlab.clusters.declaration import Cluster, Component, ComponentType
from turnlab.clusters.loader import load_cluster
from turnlab.clusters.manager import ClusterManager
from turnlab.clusters.plan import Plan, Step, make_plan

__all__ = [
    "Catalogue",
    "Cluster",
    "ClusterManager",
    "Component",
    "ComponentType",
    "Plan",
    "Step",
    "find_clusters",
    "load_cluster",
    "make_plan",
]
