"""Sessions of every kind: workspaces, statuses, messages, arenas, the journal of agents, and imports.

Seeds 001, 002 and 004. Revision 0003, after 0002.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op
from vibeweaver_store import columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('jam', 'agent', 'competition', 'ensemble', 'debate')"
_STATUSES = "status IN ('created', 'running', 'paused', 'completed', 'failed', 'archived')"

_VIEW = """
CREATE VIEW session_complete AS SELECT sessions.id, sessions.workspace_id, workspaces.path AS workspace_path,
sessions.kind, sessions.name, sessions.vibe, arenas.task, sessions.status, sessions.agent_status, sessions.created_at,
sessions.updated_at, sessions.completed_at, arenas.model, arenas.timeout_seconds, arenas.preserve_worktrees,
arenas.winner_instance_id, arenas.total_duration_seconds, arenas.total_files_changed, arenas.total_lines_added,
arenas.total_lines_deleted,
(SELECT count(*) AS count_1 FROM instances WHERE instances.session_id = sessions.id) AS instance_count,
(SELECT count(*) AS count_2 FROM messages WHERE messages.session_id = sessions.id) AS message_count,
(SELECT {concat}(mix.runtime, ',') AS aggregate_strings_1 FROM
(SELECT arena_runtimes.runtime AS runtime FROM arena_runtimes WHERE arena_runtimes.session_id = sessions.id
ORDER BY arena_runtimes.runtime) AS mix) AS runtime_mix
FROM sessions LEFT OUTER JOIN workspaces ON workspaces.id = sessions.workspace_id
LEFT OUTER JOIN arenas ON arenas.session_id = sessions.id
"""


def upgrade() -> None:
    _create_imports()
    _create_workspaces()
    _extend_sessions()
    _create_messages()
    _create_instances()
    _create_arenas()
    _create_journal_events()
    concat = "string_agg" if op.get_context().dialect.name == "postgresql" else "group_concat"
    op.execute(" ".join(_VIEW.format(concat=concat).split()))


def downgrade() -> None:
    op.execute("DROP VIEW session_complete")
    for table in ("journal_events", "arena_runtimes", "arenas", "instances", "messages"):
        op.drop_table(table)
    _reduce_sessions()
    op.drop_table("workspaces")
    op.drop_table("imports")


# --- what several tables have ----------------------------------------------------------------------------------


def _flag_check(column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN (0, 1)", name=column).ddl_if(dialect="sqlite")


def _belongs_to_session(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["session_id"], ["sessions.id"], name=f"fk_{table}_session_id_sessions", ondelete="CASCADE"
    )


def _brought_by_import(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["import_id"], ["imports.id"], name=f"fk_{table}_import_id_imports", ondelete="SET NULL"
    )


def _create_partial_index(name: str, table: str, columns_of_it: Sequence[str], where: str) -> None:
    op.create_index(name, table, [*columns_of_it], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _create_index_by_import(table: str) -> None:
    _create_partial_index(f"ix_{table}_by_import", table, ["import_id"], "import_id IS NOT NULL")


# --- tables ----------------------------------------------------------------------------------------------------


def _create_imports() -> None:
    op.create_table(
        "imports",
        sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False),
        sa.Column("importer", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("offset_bytes", columns.INTEGER, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=False),
        sa.Column("finished_at", columns.UtcDateTime()),
        sa.Column("counts", columns.Json(), nullable=False),
        sa.Column("report", columns.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed', 'undone')", name="status"),
        sa.CheckConstraint("importer <> ''", name="importer"),
        sa.CheckConstraint("source <> ''", name="source"),
        sa.CheckConstraint("offset_bytes >= 0", name="offset_bytes"),
        sa.CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_has_time"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_imports_by_source", "imports", ["importer", "source", "id"])


def _create_workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("path_hash", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("last_accessed_at", columns.UtcDateTime(), nullable=False),
        sa.Column("import_id", columns.INTEGER),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
        sa.UniqueConstraint("path", name="uq_workspaces_path"),
        _brought_by_import("workspaces"),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("path <> ''", name="path"),
        sa.CheckConstraint("length(path_hash) = 16", name="path_hash"),
        sqlite_strict=True,
    )
    op.create_index("ix_workspaces_by_last_accessed_at", "workspaces", ["last_accessed_at", "id"])
    op.create_index("ix_workspaces_by_path_hash", "workspaces", ["path_hash", "id"])
    _create_index_by_import("workspaces")


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("instance_id", columns.INTEGER),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("import_id", columns.INTEGER),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("session_id", "public_id", name="uq_messages_session_id_public_id"),
        _belongs_to_session("messages"),
        _brought_by_import("messages"),
        sa.CheckConstraint("role IN ('user', 'assistant', 'system')", name="role"),
        sa.CheckConstraint("public_id <> ''", name="public_id"),
        sa.CheckConstraint("content <> ''", name="content"),
        sa.CheckConstraint("instance_id >= 0", name="instance_id"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_by_session", "messages", ["session_id", "id"])
    op.create_index("ix_messages_by_role", "messages", ["session_id", "role", "id"])
    _create_partial_index(
        "ix_messages_by_instance", "messages", ["session_id", "instance_id", "id"], "instance_id IS NOT NULL"
    )
    op.create_index("ix_messages_by_created_at", "messages", ["session_id", "created_at", "id"])
    _create_index_by_import("messages")


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("instance_id", columns.INTEGER, nullable=False),
        sa.Column("worktree_path", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("agent_name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tmux_session_id", sa.Text(), nullable=False),
        sa.Column("start_time", columns.UtcDateTime()),
        sa.Column("end_time", columns.UtcDateTime()),
        sa.Column("files_changed", columns.INTEGER),
        sa.Column("lines_added", columns.INTEGER),
        sa.Column("lines_deleted", columns.INTEGER),
        sa.Column("runtime", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("runtime_label", sa.Text()),
        sa.Column("import_id", columns.INTEGER),
        sa.Column("output", sa.Text()),
        sa.PrimaryKeyConstraint("session_id", "instance_id", name="pk_instances"),
        _belongs_to_session("instances"),
        _brought_by_import("instances"),
        sa.CheckConstraint("status IN ('pending', 'running', 'paused', 'completed', 'failed')", name="status"),
        sa.CheckConstraint("instance_id >= 0", name="instance_id"),
        sa.CheckConstraint("files_changed >= 0 AND lines_added >= 0 AND lines_deleted >= 0", name="diff"),
        sa.CheckConstraint("(status IN ('completed', 'failed')) = (end_time IS NOT NULL)", name="final_has_time"),
        sqlite_strict=True,
    )
    op.create_index("ix_instances_by_status", "instances", ["status", "session_id", "instance_id"])
    _create_index_by_import("instances")


def _create_arenas() -> None:
    op.create_table(
        "arenas",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("timeout_seconds", columns.REAL),
        sa.Column("preserve_worktrees", columns.Flag()),
        sa.Column("winner_instance_id", columns.INTEGER),
        sa.Column("total_duration_seconds", columns.REAL),
        sa.Column("total_files_changed", columns.INTEGER),
        sa.Column("total_lines_added", columns.INTEGER),
        sa.Column("total_lines_deleted", columns.INTEGER),
        sa.PrimaryKeyConstraint("session_id", name="pk_arenas"),
        _belongs_to_session("arenas"),
        sa.ForeignKeyConstraint(
            ["session_id", "winner_instance_id"],
            ["instances.session_id", "instances.instance_id"],
            name="fk_arenas_session_id_winner_instance_id_instances",
        ),
        sa.CheckConstraint("task <> ''", name="task"),
        sa.CheckConstraint("timeout_seconds >= 0", name="timeout_seconds"),
        _flag_check("preserve_worktrees"),
        sa.CheckConstraint(
            "total_duration_seconds >= 0 AND total_files_changed >= 0 AND total_lines_added >= 0 "
            "AND total_lines_deleted >= 0",
            name="totals",
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_arenas_by_winner", "arenas", ["session_id", "winner_instance_id"])
    op.create_table(
        "arena_runtimes",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "runtime", name="pk_arena_runtimes"),
        _belongs_to_session("arena_runtimes"),
        sa.CheckConstraint("runtime <> ''", name="runtime"),
        sqlite_strict=True,
    )


def _create_journal_events() -> None:
    op.create_table(
        "journal_events",
        sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False),
        sa.Column("event_uuid", sa.Text(), nullable=False),
        sa.Column("source_session_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("timestamp", columns.UtcDateTime()),
        sa.Column("is_sidechain", columns.Flag(), nullable=False),
        sa.Column("parent_uuid", sa.Text()),
        sa.Column("cwd", sa.Text()),
        sa.Column("project_name", sa.Text()),
        sa.Column("session_id", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("message_id", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("input_tokens", columns.INTEGER),
        sa.Column("output_tokens", columns.INTEGER),
        sa.Column("cache_read_input_tokens", columns.INTEGER),
        sa.Column("cache_creation_input_tokens", columns.INTEGER),
        sa.Column("import_id", columns.INTEGER),
        sa.Column("data", columns.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal_events"),
        sa.UniqueConstraint("source_session_id", "event_uuid", name="uq_journal_events_source_session_id_event_uuid"),
        _belongs_to_session("journal_events"),
        _brought_by_import("journal_events"),
        sa.CheckConstraint("event_uuid <> ''", name="event_uuid"),
        sa.CheckConstraint("source_session_id <> ''", name="source_session_id"),
        sa.CheckConstraint("event_type <> ''", name="event_type"),
        _flag_check("is_sidechain"),
        sa.CheckConstraint(
            "input_tokens >= 0 AND output_tokens >= 0 AND cache_read_input_tokens >= 0 "
            "AND cache_creation_input_tokens >= 0",
            name="tokens",
        ),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    for name, leading in (("type", "event_type"), ("timestamp", "timestamp"), ("source", "source_session_id")):
        op.create_index(f"ix_journal_events_by_{name}", "journal_events", ["session_id", leading, "id"])
    op.create_index("ix_journal_events_by_session", "journal_events", ["session_id", "id"])
    of_a_message = "message_id IS NOT NULL"
    _create_partial_index("ix_journal_events_of_messages", "journal_events", ["session_id", "message_id"], of_a_message)
    _create_partial_index("ix_journal_events_of_messages_by_timestamp", "journal_events", ["timestamp"], of_a_message)
    _create_index_by_import("journal_events")


# --- sessions --------------------------------------------------------------------------------------------------


def _sessions_of_0002() -> sa.Table:
    """Return the table as it was: SQLite can only rebuild it, and its CHECKs cannot be read from the database."""
    return sa.Table(
        "sessions",
        sa.MetaData(),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("vibe", sa.Text()),
        sa.Column("tempo_bpm", columns.REAL),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("rules_rev", columns.INTEGER, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.CheckConstraint(_KINDS, name=op.f("ck_sessions_kind")),
        sa.CheckConstraint(_STATUSES, name=op.f("ck_sessions_status")),
        sa.CheckConstraint("id <> ''", name=op.f("ck_sessions_id")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_sessions_name")),
        sa.CheckConstraint("tempo_bpm BETWEEN 1 AND 999", name=op.f("ck_sessions_tempo_bpm")),
        sa.CheckConstraint("kind <> 'jam' OR tempo_bpm IS NOT NULL", name=op.f("ck_sessions_jam_has_tempo")),
        sa.Index("ix_sessions_by_updated_at", "updated_at", "id"),
    )


_NEW_COLUMNS = (
    ("status_reason", sa.Text()),
    ("agent_status", sa.Text()),
    ("working_dir", sa.Text()),
    ("workspace_id", sa.Text()),
    ("completed_at", columns.UtcDateTime()),
    ("last_activity_at", columns.UtcDateTime()),
    ("import_id", columns.INTEGER),
)

_NEW_CHECKS = {
    "agent_status": "agent_status IN ('not_started', 'processing', 'completed', 'error')",
    "working_dir": "working_dir <> ''",
    "version": "version > 0",
    "agent_has_working_dir": "kind <> 'agent' OR working_dir IS NOT NULL",
    "final_has_time": "(status IN ('completed', 'failed', 'archived')) = (completed_at IS NOT NULL)",
}

_ORDERS = ("updated_at", "created_at", "name")
_NEW_INDEXES = {
    **{
        f"ix_sessions_by_{of}_{order}": [of, order, "id"]
        for of in ("workspace_id", "status", "kind")
        for order in _ORDERS
    },
    "ix_sessions_by_created_at": ["created_at", "id"],
    "ix_sessions_by_name": ["name", "id"],
    "ix_sessions_by_kind_and_status": ["kind", "status"],
}


def _extend_sessions() -> None:
    table = _sessions_of_0002()
    for name, kind in _NEW_COLUMNS:
        op.add_column("sessions", sa.Column(name, kind))
        table.append_column(sa.Column(name, kind))
    # A session that is over was last changed as it ended; an agent's that knows no folder worked somewhere.
    op.execute("UPDATE sessions SET last_activity_at = updated_at")
    op.execute("UPDATE sessions SET completed_at = updated_at WHERE status IN ('completed', 'failed', 'archived')")
    op.execute("UPDATE sessions SET working_dir = '.', agent_status = 'not_started' WHERE kind = 'agent'")
    with op.batch_alter_table("sessions", copy_from=table, table_kwargs={"sqlite_strict": True}) as batch:
        batch.add_column(sa.Column("attributes", columns.Json(), server_default="{}", nullable=False))
        batch.add_column(sa.Column("version", columns.INTEGER, server_default="1", nullable=False))
        batch.alter_column("last_activity_at", existing_type=columns.UtcDateTime(), nullable=False)
        for name, condition in _NEW_CHECKS.items():
            batch.create_check_constraint(op.f(f"ck_sessions_{name}"), condition)
        batch.create_foreign_key(
            "fk_sessions_workspace_id_workspaces", "workspaces", ["workspace_id"], ["id"], ondelete="CASCADE"
        )
        batch.create_foreign_key("fk_sessions_import_id_imports", "imports", ["import_id"], ["id"], ondelete="SET NULL")
    for name, of in _NEW_INDEXES.items():
        op.create_index(name, "sessions", of)
    _create_index_by_import("sessions")


def _reduce_sessions() -> None:
    op.drop_index("ix_sessions_by_import", "sessions")
    for name in _NEW_INDEXES:
        op.drop_index(name, "sessions")
    table = _sessions_of_0002()
    for name, kind in _NEW_COLUMNS:
        table.append_column(sa.Column(name, kind))
    table.append_column(sa.Column("attributes", columns.Json()))
    table.append_column(sa.Column("version", columns.INTEGER))
    with op.batch_alter_table("sessions", copy_from=table, table_kwargs={"sqlite_strict": True}) as batch:
        if op.get_context().dialect.name == "postgresql":  # on SQLite the table is made without them
            for name in _NEW_CHECKS:
                batch.drop_constraint(op.f(f"ck_sessions_{name}"), type_="check")
        for name, _ in _NEW_COLUMNS:
            batch.drop_column(name)
        batch.drop_column("attributes")
        batch.drop_column("version")
