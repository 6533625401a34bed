"""The values that a column has, found by leaping through its index and never by reading it all."""

from __future__ import annotations

from django.db import connection, models

# Each step finds the next greater value: one look into the index a value, however many rows.
_LEAP = """
WITH RECURSIVE found(value) AS (
    SELECT MIN({column}) FROM {table}
    UNION ALL
    SELECT (SELECT MIN({column}) FROM {table} WHERE {column} > found.value)
    FROM found WHERE found.value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL LIMIT %s
"""


def distinct_values(model: type[models.Model], field: str, most: int = 200) -> list[str]:
    """The values of `field`, which must be the first of an index, in the database's order."""
    quote = connection.ops.quote_name
    column = quote(str(model._meta.get_field(field).name))
    sql = _LEAP.format(column=column, table=quote(model._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(sql, [most])
        return [row[0] for row in cursor.fetchall()]


def prefix_range(field: str, prefix: str) -> dict[str, str]:
    """The lookup that finds what begins with `prefix` through the index of `field`.

    SQLite uses no index for LIKE, and compares texts byte by byte, so a range does it; PostgreSQL
    has an index for LIKE, and its order of texts depends on the locale.
    """
    if connection.vendor == "sqlite":
        return {f"{field}__gte": prefix, f"{field}__lt": prefix + "\U0010ffff"}
    return {f"{field}__startswith": prefix}
