"""What a deletion comes to, in figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_MOST_TOLD = 100


@dataclass(kw_only=True)
class Tally:
    """What was deleted, or would be."""

    tracks: int = 0
    conversations: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """By table, beside Tracks and Conversations."""
    files: int = 0
    bytes: int = 0
    """Of the files."""
    missing: list[str] = field(default_factory=list)
    """Files that a row named and that were not there; a hundred of them."""
    missing_files: int = 0
    failed: list[str] = field(default_factory=list)
    """Files that could not be deleted, and why; a hundred of them."""
    under_way: int = 0
    """Tracks that were asked for and left, since they have not ended."""
    more: bool = False
    """Whether as many as were allowed at once are deleted, and there are others."""

    @property
    def empty(self) -> bool:
        """Whether nothing was deleted."""
        return not (self.tracks or self.conversations or self.files or any(self.rows.values()))

    def as_json(self) -> dict[str, Any]:
        """All figures, as `--json` and the audit keep them."""
        return asdict(self)

    def row(self, table: str, count: int) -> None:
        """Count rows of a table."""
        if count:
            self.rows[table] = self.rows.get(table, 0) + count

    def is_missing(self, name: str) -> None:
        """Note a file that is not there."""
        self.missing_files += 1
        if len(self.missing) < _MOST_TOLD:
            self.missing.append(name)

    def has_failed(self, name: str, error: Exception) -> None:
        """Note a file that could not be deleted, and why."""
        if len(self.failed) < _MOST_TOLD:
            self.failed.append(f"{name}: {error}")
