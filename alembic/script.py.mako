"""${message}

Revision ${up_revision}, after ${down_revision or "nothing"}.

Rules for a migration:
- It is append-only once it landed: mend it with another one.
- Its number is the next one, and its title says what it does: NNNN_add_workspaces.
- It names tables and columns itself, never the table classes: they will have moved on. Column types come from
  vibeweaver_store.columns, whose stored form never changes.
- Every constraint and index has its name written out, after the convention of vibeweaver_store.models.base.
- On SQLite, change a table with ``op.batch_alter_table(..., table_kwargs={"sqlite_strict": True})``, or it loses STRICT.
- It loses no row: vibeweaver_store.schema counts them, and refuses.
- Its downgrade is real, and a test takes it up, down and up with rows in the tables.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op
from vibeweaver_store import columns
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
