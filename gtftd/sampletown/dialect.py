"""From a MySQL SELECT to SQLite, and from SQLite's answer back to MySQL's column types."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mysql_mimic import ColumnType, ResultColumn
from sqlglot import expressions as exp

Value = str | int | float | bytes | datetime | None
_TYPES = {
    "datetime": ColumnType.DATETIME,
    "int": ColumnType.LONGLONG,
    "integer": ColumnType.LONGLONG,
    "bigint": ColumnType.LONGLONG,
    "tinyint": ColumnType.LONGLONG,
    "double": ColumnType.DOUBLE,
    "char": ColumnType.STRING,
    "varchar": ColumnType.VAR_STRING,
    "text": ColumnType.BLOB,
    "longtext": ColumnType.BLOB,
    "json": ColumnType.JSON,
}


def translate(expression: exp.Expression, database: str | None) -> str:
    """SQLite text of a query whose unqualified tables lie in `database`."""
    tree = expression.copy()
    for union in list(tree.find_all(exp.SetOperation)):
        for side in ("this", "expression"):
            _unwrap(union, side)
    known = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if database and not table.db and table.name not in known:
            table.set("db", exp.to_identifier(database, quoted=True))
    return str(tree.transform(_shift).sql(dialect="sqlite"))


def _unwrap(union: exp.SetOperation, side: str) -> None:
    """SQLite knows no parentheses around the halves of a UNION."""
    half = union.args.get(side)
    if isinstance(half, exp.Subquery) and not half.alias and not half.this.args.get("limit"):
        union.set(side, half.this)


def _shift(node: exp.Expr) -> exp.Expr:
    """`DATE_ADD` and `DATE_SUB` as SQLite's datetime(), for the units that it knows."""
    if not isinstance(node, exp.DateAdd | exp.DateSub):
        return node
    sign = "-" if isinstance(node, exp.DateSub) else "+"
    modifier = exp.Literal.string(f"{sign}{node.expression.name} {node.text('unit').lower()}s")
    return exp.func("DATETIME", node.this, modifier)


def replace_utc_timestamp(expression: exp.Expression, now: datetime) -> None:
    """`UTC_TIMESTAMP`, with or without parentheses, as the moment that it is."""
    bare = [column for column in expression.find_all(exp.Column) if column.name.upper() == "UTC_TIMESTAMP"]
    for node in [*expression.find_all(exp.UtcTimestamp), *bare]:
        literal = exp.Literal.string(now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        node.replace(exp.alias_(literal, "UTC_TIMESTAMP()") if isinstance(node.parent, exp.Select) else literal)


def result_columns(
    expression: exp.Expression, names: Sequence[str], declared: Mapping[str, str], rows: Sequence[Sequence[Value]]
) -> list[ResultColumn]:
    """Column types: those of the columns selected, by name; of anything else by its first value."""
    origins = _origins(expression)
    columns = []
    for index, name in enumerate(names):
        kind = declared.get(origins.get(name, name).lower())
        columns.append(ResultColumn(name, _TYPES.get(kind or "") or _inferred(rows, index)))
    return columns


def to_mysql(rows: Sequence[Sequence[Value]], columns: Sequence[ResultColumn]) -> list[tuple[Value, ...]]:
    """DATETIME columns as datetimes; the rest as SQLite gave it."""
    dates = {index for index, column in enumerate(columns) if column.type == ColumnType.DATETIME}
    return [tuple(_moment(cell) if index in dates else cell for index, cell in enumerate(row)) for row in rows]


def declared_types(connection: sqlite3.Connection, database: str, table: str) -> dict[str, str]:
    """Column name to base type in lower case, in the order of the table."""
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?, ?)", (table, database))
    return {name: str(kind).split("(")[0].lower() for name, kind in rows}


def _origins(expression: exp.Expression) -> dict[str, str]:
    """Output name to the column it carries: plain, renamed, or its minimum or maximum."""
    select = expression.find(exp.Select)
    found: dict[str, str] = {}
    for item in select.expressions if select else ():
        inner = item.this if isinstance(item, exp.Alias) else item
        if isinstance(inner, exp.Max | exp.Min):
            inner = inner.this
        if isinstance(inner, exp.Column):
            found[item.alias_or_name or item.sql(dialect="sqlite")] = inner.name
            found[item.sql(dialect="sqlite")] = inner.name
        elif isinstance(item, exp.Alias):
            found[item.alias] = ""
    return found


def _inferred(rows: Sequence[Sequence[Value]], index: int) -> ColumnType:
    first = next((row[index] for row in rows if row[index] is not None), None)
    if isinstance(first, int):
        return ColumnType.LONGLONG
    return ColumnType.DOUBLE if isinstance(first, float) else ColumnType.VAR_STRING


def _moment(cell: Value) -> Value:
    if not isinstance(cell, str):
        return cell
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return cell
