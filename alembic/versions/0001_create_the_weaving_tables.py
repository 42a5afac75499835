"""Create the weaving tables: sessions, rules, markers, history, snapshots, generation_stats (seed 000).

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op
from vibeweaver_store import columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _flag_check(column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN (0, 1)", name=column).ddl_if(dialect="sqlite")


def _belongs_to_session(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["session_id"], ["sessions.id"], name=f"fk_{table}_session_id_sessions", ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("vibe", sa.Text()),
        sa.Column("tempo_bpm", columns.REAL),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.CheckConstraint("kind IN ('jam', 'agent', 'competition', 'ensemble', 'debate')", name="kind"),
        sa.CheckConstraint(
            "status IN ('created', 'running', 'paused', 'completed', 'failed', 'archived')", name="status"
        ),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("name <> ''", name="name"),
        sa.CheckConstraint("tempo_bpm BETWEEN 1 AND 999", name="tempo_bpm"),
        sa.CheckConstraint("kind <> 'jam' OR tempo_bpm IS NOT NULL", name="jam_has_tempo"),
        sqlite_strict=True,
    )
    op.create_index("ix_sessions_by_updated_at", "sessions", ["updated_at", "id"])
    _create_rules()
    _create_markers()
    _create_history()
    _create_snapshots()
    _create_generation_stats()


def _create_rules() -> None:
    op.create_table(
        "rules",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("trigger_type", sa.Text(), nullable=False),
        sa.Column("trigger_key", sa.Text()),
        sa.Column("trigger", columns.Json(), nullable=False),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column("action", columns.Json(), nullable=False),
        sa.Column("priority", sa.SmallInteger().with_variant(sa.INTEGER(), "sqlite"), nullable=False),
        sa.Column("enabled", columns.Flag(), nullable=False),
        sa.Column("one_shot", columns.Flag(), nullable=False),
        sa.Column("fired_count", columns.INTEGER, nullable=False),
        sa.Column("last_fired_at", columns.UtcDateTime()),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rules"),
        _belongs_to_session("rules"),
        sa.CheckConstraint(
            "trigger_type IN ('beat', 'marker', 'deadline', 'artifact', 'job_complete', 'transport')",
            name="trigger_type",
        ),
        sa.CheckConstraint(
            "action_type IN ('sample', 'schedule', 'sample_and_schedule', 'play', 'pause', 'stop', 'seek', "
            "'audition', 'notify')",
            name="action_type",
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 4", name="priority"),
        _flag_check("enabled"),
        _flag_check("one_shot"),
        sa.CheckConstraint("fired_count >= 0", name="fired_count"),
        sa.CheckConstraint("(fired_count = 0) = (last_fired_at IS NULL)", name="fired_has_time"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_rules_by_trigger",
        "rules",
        ["session_id", "trigger_type", "enabled", "priority", "created_at", "id"],
    )
    op.create_index(
        "ix_rules_by_key",
        "rules",
        ["session_id", "trigger_type", "enabled", "trigger_key", "priority", "created_at", "id"],
    )
    op.create_index("ix_rules_by_session", "rules", ["session_id", "priority", "created_at", "id"])


def _create_markers() -> None:
    op.create_table(
        "markers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("beat", columns.REAL, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("metadata", columns.Json()),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_markers"),
        _belongs_to_session("markers"),
        sa.CheckConstraint("beat >= 0 AND beat <= 1.7976931348623157e308", name="beat"),
        sa.CheckConstraint("name <> ''", name="name"),
        sqlite_strict=True,
    )
    op.create_index("ix_markers_by_beat", "markers", ["session_id", "beat", "id"])


def _create_history() -> None:
    op.create_table(
        "history",
        sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("params", columns.Json()),
        sa.Column("result", columns.Json()),
        sa.Column("success", columns.Flag(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history"),
        _belongs_to_session("history"),
        sa.CheckConstraint("action <> ''", name="action"),
        _flag_check("success"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_history_by_session", "history", ["session_id", "id"])
    op.create_index("ix_history_by_action", "history", ["session_id", "action", "id"])
    op.create_index(
        "ix_history_of_failures",
        "history",
        ["session_id", "id"],
        sqlite_where=sa.text("success = 0"),
        postgresql_where=sa.text("success = false"),
    )


def _create_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("size_bytes", columns.INTEGER, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("captured_at", columns.UtcDateTime(), nullable=False),
        sa.Column("state", columns.BLOB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        _belongs_to_session("snapshots"),
        sa.CheckConstraint("size_bytes = length(state)", name="size_bytes"),
        sa.CheckConstraint("length(sha256) = 64", name="sha256"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_snapshots_by_session", "snapshots", ["session_id", "id"])


def _create_generation_stats() -> None:
    op.create_table(
        "generation_stats",
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("sample_count", columns.INTEGER, nullable=False),
        sa.Column("total_ms", columns.INTEGER, nullable=False),
        sa.Column("min_ms", columns.INTEGER, nullable=False),
        sa.Column("max_ms", columns.INTEGER, nullable=False),
        sa.Column("sum_of_squares_ms2", columns.REAL, nullable=False),
        sa.Column("last_ms", columns.INTEGER, nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", name="pk_generation_stats"),
        sa.CheckConstraint("space <> ''", name="space"),
        sa.CheckConstraint("sample_count > 0", name="sample_count"),
        sa.CheckConstraint("min_ms >= 0 AND min_ms <= max_ms AND last_ms BETWEEN min_ms AND max_ms", name="range"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    for table in ("generation_stats", "snapshots", "history", "markers", "rules", "sessions"):
        op.drop_table(table)
