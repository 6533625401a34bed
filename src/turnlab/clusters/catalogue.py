"""The Clusters that there are: built in, and in the folders that the user names."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from turnlab.clusters.declaration import Cluster, invalid
from turnlab.clusters.loader import LIMIT_BYTES, load_cluster
from turnlab.errors import TurnlabError, UnknownCluster, UnreadableFile

BUILTIN = Path(__file__).parent / "builtin"

_NAME = re.compile(r"^\s*name\s*=\s*[\"'](\w+)[\"']", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """A file that declares no Cluster that could be used, and the name that it was meant for."""

    source: str
    name: str | None
    error: TurnlabError


class Catalogue:
    """Clusters by name. A later one replaces an earlier one of the same name."""

    def __init__(self, clusters: Iterable[Cluster] = ()) -> None:
        self._clusters: dict[str, Cluster] = {}
        self._unusable: dict[str, TurnlabError] = {}
        self._problems: list[Unusable] = []
        for cluster in clusters:
            self.add(cluster)

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self._clusters.values())

    @property
    def problems(self) -> tuple[Unusable, ...]:
        """The files that cannot be used, and why."""
        return tuple(self._problems)

    def add(self, cluster: Cluster) -> None:
        """Add a Cluster, in place of an earlier one of its name."""
        self._clusters[cluster.name] = cluster
        self._unusable.pop(cluster.name, None)

    def refuse(self, problem: Unusable) -> None:
        """Note a file that cannot be used; an earlier Cluster of its name is not taken for it."""
        self._problems.append(problem)
        if problem.name is not None:
            self._clusters.pop(problem.name, None)
            self._unusable[problem.name] = problem.error

    def find(self, name: str) -> Cluster | None:
        """The Cluster of that name, None if there is none."""
        return self._clusters.get(name)

    def get(self, name: str) -> Cluster:
        """The Cluster of that name.

        Raises UnknownCluster that names the nearest, or what keeps its file from being used.
        """
        if name in self._unusable:
            raise self._unusable[name]
        if name in self._clusters:
            return self._clusters[name]
        near = difflib.get_close_matches(name, self._clusters, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "`turnlab clusters list` shows them."
        raise UnknownCluster(f"There is no Cluster {name[:200]!r}; {hint}")


def find_clusters(folders: Iterable[Path] = ()) -> Catalogue:
    """The built-in Clusters and those in `folders`.

    A file that cannot be used is left out and named in the catalogue's `problems`. Raises
    UnreadableFile if a folder is none.
    """
    catalogue = Catalogue()
    _add_folder(catalogue, BUILTIN)
    for folder in folders:
        if not folder.is_dir():
            raise UnreadableFile(f"{folder} is no folder of Cluster files; name one that exists.")
        _add_folder(catalogue, folder)
    return catalogue


def _add_folder(catalogue: Catalogue, folder: Path) -> None:
    """Add its Clusters, of which no two may share a name."""
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            cluster = load_cluster(path)
            if cluster.name in seen:
                problem = f"declares {cluster.name}, as {seen[cluster.name]} does"
                raise invalid(str(path), None, problem, "give one of them another name")
        except TurnlabError as error:
            catalogue.refuse(Unusable(source=str(path), name=_name_in(path), error=error))
        else:
            seen[cluster.name] = path
            catalogue.add(cluster)


def _name_in(path: Path) -> str | None:
    """The name that the file gives its Cluster, as far as it can be read."""
    try:
        with path.open("rb") as file:
            text = file.read(LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return None
    try:
        name = tomllib.loads(text).get("name")
        return name if isinstance(name, str) else None
    except (ValueError, RecursionError):
        head = f"\n{text}".partition("\n[")[0]  # the tables have names of their own
        found = [match[1] for line in head.splitlines() if (match := _NAME.match(line))]
        return found[0] if found else None
