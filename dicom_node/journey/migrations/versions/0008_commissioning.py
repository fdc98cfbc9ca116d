"""commissioning

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let readings say what calibration made of their score, and which commissioning was in force."""
    with op.batch_alter_table("readings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("probability", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("commissioning", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("readings", schema=None) as batch_op:
        batch_op.drop_column("commissioning")
        batch_op.drop_column("probability")
