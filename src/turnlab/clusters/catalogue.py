"""The Clusters that there are: built in, and in the folders that the user names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from turnlab.clusters.declaration import Cluster, invalid
from turnlab.clusters.loader import load_cluster
from turnlab.errors import UnknownCluster, UnreadableFile

BUILTIN = Path(__file__).parent / "builtin"


class Catalogue:
    """Clusters by name. A later one replaces an earlier one of the same name."""

    def __init__(self, clusters: Iterable[Cluster] = ()) -> None:
        self._clusters = {cluster.name: cluster for cluster in clusters}

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self._clusters.values())

    def find(self, name: str) -> Cluster | None:
        """The Cluster of that name, None if there is none."""
        return self._clusters.get(name)

    def get(self, name: str) -> Cluster:
        """The Cluster of that name. Raises UnknownCluster that names the nearest."""
        if name in self._clusters:
            return self._clusters[name]
        near = difflib.get_close_matches(name, self._clusters, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "`turnlab clusters list` shows them."
        raise UnknownCluster(f"There is no Cluster {name[:200]!r}; {hint}")


def find_clusters(folders: Iterable[Path] = ()) -> Catalogue:
    """The built-in Clusters and those in `folders`. Raises InvalidCluster, UnreadableFile."""
    found = _in_folder(BUILTIN)
    for folder in folders:
        if not folder.is_dir():
            raise UnreadableFile(
                f"{folder} is no folder; --clusters and TURNLAB_CLUSTERS name folders."
            )
        found += _in_folder(folder)
    return Catalogue(found)


def _in_folder(folder: Path) -> list[Cluster]:
    """Its Clusters, of which no two may share a name."""
    found: dict[str, Cluster] = {}
    for path in sorted(folder.glob("*.toml")):
        cluster = load_cluster(path)
        if cluster.name in found:
            problem = f"declares {cluster.name}, as {found[cluster.name].source} does"
            raise invalid(str(path), None, problem, "give one of them another name")
        found[cluster.name] = cluster
    return list(found.values())
