"""Number the changes of a session's rules, so that who keeps them in memory can see that they changed.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op
from vibeweaver_store import columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("rules_rev", columns.INTEGER, server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("sessions", "rules_rev")
