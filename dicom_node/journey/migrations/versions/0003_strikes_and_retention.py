"""how workers died of an object, and when its files were removed

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("received", sa.Column("strikes", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("received", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("received", schema=None) as batch_op:
        batch_op.drop_column("purged_at")
        batch_op.drop_column("strikes")
