"""Records as rows: one prepared upsert a table, derived from the model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import fields as dataclass_fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from turnlab.tasks import TaskStatus

Row = tuple[Any, ...]
_WRITTEN_AT = "updated_at"


class Table:
    """Writes the records of one model, those columns of it that a record has.

    The SQL is made by Django for the database at hand, so SQLite and PostgreSQL are the same here.
    """

    def __init__(
        self, model: type[models.Model], record: type[Any], connection: BaseDatabaseWrapper
    ) -> None:
        self.model = model
        self._alias = connection.alias
        fields = _columns(model, record)
        self._names = [f.attname for f in fields]
        self._values = attrgetter(*self._names)
        self._convert = [(i, c) for i, f in enumerate(fields) if (c := _converter(f, connection))]
        self.stamped = any(f.name == _WRITTEN_AT for f in model._meta.concrete_fields)
        self.moment = connection.ops.adapt_datetimefield_value
        self._json = [f.attname for f in fields if isinstance(f, models.JSONField)]
        self.upsert = _upsert(model, fields, connection)

    def row(self, record: Any, written_at: Any) -> Row:
        """The parameters of `upsert`; `written_at` as `moment` makes it, once for many rows.

        Raises whatever a field of the wrong type leads to.
        """
        values = list(self._values(record))
        for index, convert in self._convert:
            values[index] = convert(values[index])
        if self.stamped:
            values.append(written_at)
        return tuple(values)

    def unwritten(self, keys: Collection[str], written_at: datetime) -> set[str]:
        """Those of these rows that the upsert has left as they were, since they had ended."""
        rows = self.model._default_manager.using(self._alias)
        written = rows.filter(pk__in=list(keys), **{_WRITTEN_AT: written_at})
        return set(keys) - set(written.values_list("pk", flat=True))

    def as_dict(self, record: Any, written_at: datetime) -> dict[str, Any]:
        """The row as `Model.objects.values()` would return it; nothing of it is shared."""
        data = dict(zip(self._names, self._values(record), strict=True))
        data.update({name: json.loads(encode(data[name])) for name in self._json})
        return {**data, _WRITTEN_AT: written_at} if self.stamped else data


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's; anything else by its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


_ENCODER = json.JSONEncoder(allow_nan=False, default=_plain)


def encode(value: Any) -> str:
    """`value` as JSON that every database takes; NaN and infinities become null.

    What JSON does not know becomes a text. Raises RecursionError if `value` holds itself.
    """
    if not value:
        return json.dumps(value)
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError):
        return _ENCODER.encode(_scrub(value))
    if "\\u0000" in text or "\\ud" in text:  # NUL, half a pair; whole pairs are left whole
        return _ENCODER.encode(_scrub(value))
    return text


def clean(text: str) -> str:
    """`text` without what databases refuse: NUL, and halves of surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _scrub(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return clean(value)
        case dict():
            return {clean(str(key)): _scrub(item) for key, item in value.items()}
        case list() | tuple():
            return [_scrub(item) for item in value]
        case _ if hasattr(value, "tolist"):
            return _scrub(value.tolist())
    return value


def _converter(
    field: models.Field[Any, Any], connection: BaseDatabaseWrapper
) -> Callable[[Any], Any] | None:
    """What makes the field's value one that the database's driver takes; None if it is already."""
    match field:
        case models.JSONField():
            return encode
        case models.DateTimeField():
            return connection.ops.adapt_datetimefield_value
        case models.TextField():
            return clean
        case models.CharField() if not field.primary_key:
            return str  # enumerations
    return None


def _columns(model: type[models.Model], record: type[Any]) -> list[Any]:
    """The model's fields that `record` has; all others have a default in the database."""
    known = {field.name for field in dataclass_fields(record)}
    return [f for f in model._meta.concrete_fields if f.attname in known]


def _upsert(model: type[models.Model], fields: list[Any], connection: BaseDatabaseWrapper) -> str:
    """`INSERT ... ON CONFLICT DO UPDATE` of everything but the key and the time of creation.

    What has ended stays as it is: of two processes that both believe a Track theirs, the first
    one to end it is right.
    """
    quote = connection.ops.quote_name
    # In the order of Table.row, which puts the time of writing last.
    fields = fields + [f for f in model._meta.concrete_fields if f.name == _WRITTEN_AT]
    columns = [str(f.column) for f in fields]
    key = str(model._meta.pk.column)
    changing = [c for c in columns if c not in (key, "created_at")]
    # A record of which nothing can change is written once.
    action = OnConflict.UPDATE if changing else OnConflict.IGNORE
    insert = connection.ops.insert_statement(on_conflict=action)
    conflict = connection.ops.on_conflict_suffix_sql(fields, action, changing, [key])
    names, marks = ", ".join(quote(c) for c in columns), ", ".join(["%s"] * len(columns))
    table = quote(model._meta.db_table)
    if "status" in changing:
        ended = ", ".join(f"'{status.value}'" for status in TaskStatus if status.ended)
        conflict += f" WHERE {table}.{quote('status')} NOT IN ({ended})"
    return f"{insert} {table} ({names}) VALUES ({marks}) {conflict}"
