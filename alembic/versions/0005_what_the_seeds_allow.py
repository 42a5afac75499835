"""What the seeds allow: sessions without a name, beats before zero, the role of tools, defaults for raw inserts.

Tickets check that the next stage follows from the plan, and fill it in where an insert leaves it out.

Revision 0005, after 0004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import sqlalchemy as sa

from alembic import context, op
from vibeweaver_store import columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Edits: TypeAlias = Sequence[tuple[str, str]]

_NOW_ON_SQLITE: Final = "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))"
_NOW: Final = "now"

_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "workspaces": {"created_at": _NOW, "last_accessed_at": _NOW},
    "sessions": {"name": "", "status": "created", "created_at": _NOW, "updated_at": _NOW, "last_activity_at": _NOW},
    "messages": {"created_at": _NOW},
    "rules": {"priority": "2", "enabled": "true", "one_shot": "false", "fired_count": "0", "created_at": _NOW},
    "markers": {"created_at": _NOW},
    "history": {"success": "true", "created_at": _NOW},
    "instances": {"status": "pending"},
    "jobs": {
        "status": "pending",
        "priority": "0",
        "ready": "true",
        "attempts": "0",
        "max_attempts": "3",
        "scheduled_at": _NOW,
        "created_at": _NOW,
        "updated_at": _NOW,
    },
    "tickets": {"next_stage": ""},
}
"""The new default of each column, as PostgreSQL has it."""

_CHECKS: Final[Mapping[str, Mapping[str, tuple[str, str | None]]]] = {
    "sessions": {"name": ("name <> ''", None)},
    "messages": {
        "role": ("role IN ('user', 'assistant', 'system')", "role IN ('user', 'assistant', 'system', 'tool')")
    },
    "markers": {
        "beat": (
            "beat >= 0 AND beat <= 1.7976931348623157e308",
            "beat BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308",
        )
    },
}
"""The old and the new condition of each CHECK that changes; ``None`` where there is none any more."""

_INDEXES: Final = {
    "ix_messages_of_all_by_created_at": ("messages", ["created_at", "id", "role"]),
    "ix_journal_events_of_source": ("journal_events", ["source_session_id", "id"]),
}


def upgrade() -> None:
    if _is_sqlite():
        for table in _DEFAULTS:
            _rebuild(table, _edits(table))
    else:
        _alter_on_postgresql()
    for name, (table, of) in _INDEXES.items():
        op.create_index(name, table, of)
    op.create_index(
        "ix_coordination_events_processed",
        "coordination_events",
        ["created_at", "id"],
        sqlite_where=sa.text("processed = 1"),
        postgresql_where=sa.text("processed = true"),
    )
    for statement in _TRIGGERS_ON_SQLITE if _is_sqlite() else _TRIGGERS_ON_POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DROP_ON_SQLITE if _is_sqlite() else _DROP_ON_POSTGRESQL:
        op.execute(statement)
    op.drop_index("ix_coordination_events_processed", "coordination_events")
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
    _return_to_what_was_allowed()
    if not _is_sqlite():
        _alter_back_on_postgresql()
        return
    for table in _DEFAULTS:
        _rebuild(table, _edits_back(table))


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _return_to_what_was_allowed() -> None:
    """Give rows that the old CHECKs refuse the nearest value that they allow."""
    if not _is_sqlite():
        op.drop_constraint(op.f("ck_messages_role"), "messages", type_="check")
    op.execute("UPDATE sessions SET name = 'untitled' WHERE name = ''")
    op.execute("UPDATE messages SET role = 'system' WHERE role = 'tool'")
    op.execute("UPDATE markers SET beat = 0 WHERE beat < 0")


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def _alter_on_postgresql() -> None:
    for table, defaults in _DEFAULTS.items():
        for column, default in defaults.items():
            op.alter_column(table, column, server_default=columns.NOW if default == _NOW else default)
    for table, checks in _CHECKS.items():
        for name, (_, new) in checks.items():
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
            if new is not None:
                op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, new)


def _alter_back_on_postgresql() -> None:
    for table, defaults in _DEFAULTS.items():
        for column in defaults:
            op.alter_column(table, column, server_default=None)
    for table, checks in _CHECKS.items():
        for name, (old, new) in checks.items():
            if new is not None and table != "messages":
                op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, old)


# --- SQLite ----------------------------------------------------------------------------------------------------


def _edits(table: str) -> list[tuple[str, str]]:
    """Return what changes in the text of a table's definition, where constraints stand in any order."""
    edits = [_default(column, value) for column, value in _DEFAULTS[table].items()]
    for name, (old, new) in _CHECKS.get(table, {}).items():
        check = f"CONSTRAINT ck_{table}_{name} CHECK "
        edits.append((f", \n\t{check}({old})", "") if new is None else (f"{check}({old})", f"{check}({new})"))
    return edits


def _edits_back(table: str) -> list[tuple[str, str]]:
    key = f"CONSTRAINT pk_{table} PRIMARY KEY (id)"
    return [(new, old) if new else (key, f"{key}{old}") for old, new in _edits(table)]


_FLAGS: Final = {"true": "1", "false": "0"}
_NULLABLE: Final = {"ready", "next_stage"}
_NUMBERS: Final = {"priority", "enabled", "one_shot", "fired_count", "success", "ready", "attempts", "max_attempts"}


def _default(column: str, value: str) -> tuple[str, str]:
    kind = "INTEGER" if column in _NUMBERS else "TEXT"
    required = "" if column in _NULLABLE else " NOT NULL"
    default = _NOW_ON_SQLITE if value == _NOW else f"'{_FLAGS.get(value, value)}'"
    if value in _FLAGS:
        default = _FLAGS[value]
    return f"\n\t{column} {kind}{required}, \n", f"\n\t{column} {kind} DEFAULT {default}{required}, \n"


def _rebuild(table: str, edits: Edits) -> None:
    """Change the text of a table's definition as SQLite's manual says: make it anew, fill it, and put it in place.

    The definition is read from the database, with the indexes and triggers, which are made again. See
    https://www.sqlite.org/lang_altertable.html#otheralter. Foreign keys are off in a migration, so that no child goes
    with the old table. A log's keys are never given again: what the newest one was is carried over.
    """
    if context.is_offline_mode():
        for old, new in edits:
            op.execute(f"-- {table} is made anew: {' '.join(old.split())} -> {' '.join(new.split())}")
        return
    connection = op.get_bind()
    made = sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL ORDER BY rowid")
    parts = connection.execute(made, {"table": table}).all()
    (definition,) = [sql for kind, sql in parts if kind == "table"]
    named = sa.text("SELECT name FROM pragma_table_info(:table)")
    names = connection.execute(named, {"table": table}).scalars()
    listed = ", ".join(f'"{name}"' for name in names)
    op.execute(sa.text(_edited(table, definition, edits).replace(":", "\\:")))
    op.execute(f"INSERT INTO _new_{table} ({listed}) SELECT {listed} FROM {table}")  # noqa: S608 - names of our own
    if "AUTOINCREMENT" in definition:
        op.execute(f"DELETE FROM sqlite_sequence WHERE name = '_new_{table}'")  # noqa: S608 - likewise
        op.execute(
            f"INSERT INTO sqlite_sequence (name, seq) SELECT '_new_{table}', seq FROM sqlite_sequence "  # noqa: S608
            f"WHERE name = '{table}'"
        )
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE _new_{table} RENAME TO {table}")
    for kind, sql in parts:
        if kind != "table":
            op.execute(sa.text(sql.replace(":", "\\:")))


def _edited(table: str, definition: str, edits: Edits) -> str:
    body = definition[definition.index("(") :]
    for old, new in edits:
        if body.count(old) != 1:
            raise ValueError(f"{table}: its definition does not have {old!r} once")
        body = body.replace(old, new)
    return f"CREATE TABLE _new_{table} {body}"


# --- tickets: the next stage follows from the plan ---------------------------------------------------------------

_EXPECTED: Final = """
CASE
  WHEN NEW.closed_at IS NOT NULL THEN NULL
  WHEN NEW.last_completed_stage = 'Planned' THEN json_extract(NEW.execution_plan, '$[0]')
  ELSE (
    SELECT following.value
    FROM json_each(NEW.execution_plan) AS done
    JOIN json_each(NEW.execution_plan) AS following ON following.key = done.key + 1
    WHERE done.value = NEW.last_completed_stage
  )
END"""

_IS_SOUND: Final = f"""
CASE WHEN json_valid(NEW.execution_plan) THEN
  json_type(NEW.execution_plan) = 'array'
  AND json_array_length(NEW.execution_plan) > 0
  AND NOT EXISTS (
    SELECT 1 FROM json_each(NEW.execution_plan) GROUP BY value
    HAVING count(*) > 1 OR max(type <> 'text') OR value IN ('', 'Planned')
  )
  AND (
    NEW.last_completed_stage = 'Planned'
    OR NEW.last_completed_stage IN (SELECT value FROM json_each(NEW.execution_plan))
  )
  AND NEW.next_stage IS ({_EXPECTED})
ELSE 0 END"""  # noqa: S608 - no value from outside

_REFUSE: Final = "SELECT RAISE(ABORT, 'CHECK constraint failed: ck_tickets_next_stage');"

_FILL_IN: Final = f"""
CREATE TRIGGER tickets_fill_in_next_stage AFTER INSERT ON tickets WHEN NEW.next_stage = ''
BEGIN UPDATE tickets SET next_stage = ({_EXPECTED}) WHERE ticket_id = NEW.ticket_id; END"""  # noqa: S608 - likewise

_CHECK_NEW: Final = f"""
CREATE TRIGGER tickets_check_new_next_stage AFTER INSERT ON tickets
WHEN NEW.next_stage IS NOT '' AND NOT ({_IS_SOUND})
BEGIN {_REFUSE} END"""

_CHECK_CHANGED: Final = f"""
CREATE TRIGGER tickets_check_next_stage
AFTER UPDATE OF execution_plan, last_completed_stage, next_stage, closed_at ON tickets
WHEN NOT ({_IS_SOUND})
BEGIN {_REFUSE} END"""

_TRIGGERS_ON_SQLITE: Final = (_FILL_IN, _CHECK_NEW, _CHECK_CHANGED)
_DROP_ON_SQLITE: Final = (
    "DROP TRIGGER tickets_check_next_stage",
    "DROP TRIGGER tickets_check_new_next_stage",
    "DROP TRIGGER tickets_fill_in_next_stage",
)

_FUNCTION: Final = """
CREATE FUNCTION tickets_next_stage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  stages text[];
  sound boolean;
  expected text;
BEGIN
  sound = jsonb_typeof(NEW.execution_plan) = 'array';
  IF sound THEN
    stages = ARRAY(
      SELECT stage FROM jsonb_array_elements_text(NEW.execution_plan) WITH ORDINALITY AS each (stage, place)
      ORDER BY place
    );
    sound = cardinality(stages) > 0
      AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(NEW.execution_plan) AS each (stage) GROUP BY stage
        HAVING count(*) > 1 OR jsonb_typeof(stage) <> 'string' OR stage IN ('""', '"Planned"')
      )
      AND (NEW.last_completed_stage = 'Planned' OR NEW.last_completed_stage = ANY (stages));
  END IF;
  IF sound AND NEW.closed_at IS NULL THEN
    expected = CASE
      WHEN NEW.last_completed_stage = 'Planned' THEN stages[1]
      ELSE stages[array_position(stages, NEW.last_completed_stage) + 1]
    END;
  END IF;
  IF TG_WHEN = 'BEFORE' THEN
    NEW.next_stage = expected;
    RETURN NEW;
  END IF;
  IF sound IS NOT TRUE OR NEW.next_stage IS DISTINCT FROM expected THEN
    RAISE EXCEPTION 'the next stage of a ticket must follow from its execution plan and its last completed stage'
      USING ERRCODE = 'check_violation', TABLE = 'tickets', CONSTRAINT = 'ck_tickets_next_stage';
  END IF;
  RETURN NEW;
END
$$"""

_FILL_IN_BEFORE: Final = """
CREATE TRIGGER tickets_fill_in_next_stage BEFORE INSERT ON tickets
FOR EACH ROW WHEN (NEW.next_stage = '') EXECUTE FUNCTION tickets_next_stage()"""

_CHECK_AFTER: Final = """
CREATE TRIGGER tickets_check_next_stage
AFTER INSERT OR UPDATE OF execution_plan, last_completed_stage, next_stage, closed_at ON tickets
FOR EACH ROW EXECUTE FUNCTION tickets_next_stage()"""

_TRIGGERS_ON_POSTGRESQL: Final = (_FUNCTION, _FILL_IN_BEFORE, _CHECK_AFTER)
_DROP_ON_POSTGRESQL: Final = (
    "DROP TRIGGER tickets_check_next_stage ON tickets",
    "DROP TRIGGER tickets_fill_in_next_stage ON tickets",
    "DROP FUNCTION tickets_next_stage()",
)
