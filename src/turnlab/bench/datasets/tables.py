"""Arrow and Parquet files as rows. pyarrow, the extra [datasets], is imported here alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from turnlab.errors import InvalidDataset, MissingPackage
from turnlab.packaged import installed

AT_ONCE = 16
"""Rows that are in memory together; each may hold an hour of sound."""


class Kind(StrEnum):
    """What a column holds."""

    MEDIUM = "medium"
    """A sound or a picture: a struct of `bytes` and `path`, or of `array` and `sampling_rate`."""
    MEDIA = "media"
    """Several in a row."""
    BYTES = "bytes"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TEXTS = "texts"
    OBJECT = "object"
    OTHER = "other"


def require_pyarrow() -> None:
    """Raise MissingPackage where the extra [datasets] is not installed."""
    if not installed("pyarrow"):
        raise MissingPackage("pyarrow is not installed: pip install 'turnlab[datasets]'.")


class Tables:
    """Files of one schema, read one after the other."""

    def __init__(self, files: Sequence[Path]) -> None:
        require_pyarrow()
        self._files = files
        with _reading(files[0]):
            schema, _ = _open(files[0])
        if len(set(schema.names)) != len(schema.names):
            raise InvalidDataset(f"{files[0]} has two columns of one name; rename one.")
        self.kinds: dict[str, Kind] = {field.name: _kind(field.type) for field in schema}
        self.info: dict[str, Any] = _info(schema.metadata or {})
        self._schema = schema

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, as Python values. Raises InvalidDataset for a file that is damaged."""
        for path in self._files:
            with _reading(path):
                schema, batches = _open(path)
                if not schema.equals(self._schema):
                    raise InvalidDataset(f"{path} has other columns than {self._files[0].name}.")
                for batch in batches:
                    yield from _rows(batch)


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    # What comes from elsewhere may point outside its own buffers.
    batch.validate(full=True)
    for start in range(0, batch.num_rows, AT_ONCE):
        yield from _told(batch.slice(start, AT_ONCE)).to_pylist()


def _told(batch: Any) -> Any:
    """With moments of nanoseconds, which Python cannot hold, as text."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        is_moment = pa.types.is_timestamp(field.type) or pa.types.is_time(field.type)
        if is_moment and field.type.unit == "ns":
            batch = batch.set_column(place, field.name, batch.column(place).cast(pa.string()))
    return batch


class _reading:
    """Raises InvalidDataset for what pyarrow says of a file, at any point of reading it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import pyarrow as pa

        # Most of its errors are those of Python; KeyError and the like come of damaged metadata.
        if isinstance(error, pa.ArrowException | OSError | ValueError | KeyError | TypeError):
            raise InvalidDataset(f"{self._path} cannot be read ({error!s:.300}).") from error


def _open(path: Path) -> tuple[Any, Iterator[Any]]:
    """Schema and batches of a Parquet file, or of Arrow's stream or file format."""
    import pyarrow as pa

    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        parquet = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
        return parquet.schema_arrow, parquet.iter_batches(batch_size=AT_ONCE)
    source = pa.memory_map(str(path), "r")
    if path.open("rb").read(6) == b"ARROW1":
        reader = pa.ipc.open_file(source)
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
    reader = pa.ipc.open_stream(source)
    return reader.schema, iter(reader)


def _info(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What the `datasets` library keeps beside the schema."""
    try:
        info = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidDataset("The metadata `huggingface` of the table is no JSON.") from error
    return info if isinstance(info, dict) else {}


def _kind(kind: Any) -> Kind:
    import pyarrow as pa

    t = pa.types
    if t.is_dictionary(kind):
        return _kind(kind.value_type)
    if t.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        is_medium = {"bytes", "path"} <= names or {"array", "sampling_rate"} <= names
        return Kind.MEDIUM if is_medium else Kind.OBJECT
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        inner = _kind(kind.value_type)
        return {Kind.MEDIUM: Kind.MEDIA, Kind.TEXT: Kind.TEXTS}.get(inner, Kind.OTHER)
    for is_kind, found in (
        (t.is_string, Kind.TEXT),
        (t.is_large_string, Kind.TEXT),
        (t.is_binary, Kind.BYTES),
        (t.is_large_binary, Kind.BYTES),
        (t.is_integer, Kind.INTEGER),
        (t.is_floating, Kind.NUMBER),
    ):
        if is_kind(kind):
            return found
    return Kind.OTHER
