"""in which transfer syntax results went, and what of a source was repaired in them

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("returns", sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("readings", sa.Column("repairs", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("readings", schema=None) as batch_op:
        batch_op.drop_column("repairs")
    with op.batch_alter_table("returns", schema=None) as batch_op:
        batch_op.drop_column("transfer_syntax_uid")
