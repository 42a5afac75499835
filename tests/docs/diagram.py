"""Draws the tables as a Mermaid diagram for the README: ``python -m tests.docs.diagram`` writes it there anew."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from vibeweaver_store.models import METADATA

README = Path(__file__).resolve().parents[2] / "README.md"
_BLOCK = re.compile(r"(?<=<!-- tables -->\n)```mermaid\n.*?```\n", re.DOTALL)


def mermaid(metadata: sa.MetaData = METADATA) -> str:
    """The diagram as a fenced block: each table with its columns, keys and parents."""
    lines = ["```mermaid", "erDiagram"]
    for table in metadata.sorted_tables:
        parents = dict.fromkeys(key.column.table.name for key in sorted_keys(table))
        lines += [f"    {parent} ||--o{{ {table.name} : has" for parent in parents]
        lines += [f"    {table.name} {{", *[f"        {describe(column)}" for column in table.columns], "    }"]
    return "\n".join([*lines, "```", ""])


def sorted_keys(table: sa.Table) -> list[sa.ForeignKey]:
    return sorted(table.foreign_keys, key=lambda key: (key.parent.name, key.target_fullname))


def describe(column: sa.Column[object]) -> str:
    kind = column.type.compile(dialect=sqlite.dialect()).lower()
    keys = ["PK"] if column.primary_key else []
    keys += ["FK"] if column.foreign_keys else []
    optional = ' "optional"' if column.nullable else ""
    return f"{kind} {column.name} {', '.join(keys)}".rstrip() + optional


def in_readme() -> str:
    found = _BLOCK.search(README.read_text())
    return found[0] if found else ""


if __name__ == "__main__":
    README.write_text(_BLOCK.sub(lambda _: mermaid(), README.read_text()))
