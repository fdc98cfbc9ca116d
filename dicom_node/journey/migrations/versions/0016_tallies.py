"""how many rows stand where, kept up to date by SQLite: to count a million takes it seconds

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Of each table, what a row counts as, as SQL over the row `{row}`.
COUNTED = {
    "received": ("CASE WHEN {row}.accepted THEN 'accepted' ELSE 'not read' END",),
    "rejected": ("'rejected'",),
    "readings": (
        "CASE WHEN {row}.failure = '' THEN 'read' ELSE 'failed' END",
        "CASE WHEN {row}.shadow THEN 'in shadow' ELSE 'in the open' END",
    ),
    "returns": ("{row}.state || ' at ' || {row}.destination",),
}


def upgrade() -> None:
    """Make the table, count what is there, and let triggers go on."""
    if op.get_bind().dialect.name != "sqlite":
        return  # PostgreSQL counts in parallel, and its writers would wait for each other at these few rows
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    for table, names in COUNTED.items():
        for name in names:
            counted = name.format(row=table)
            op.execute(f"INSERT INTO tallies SELECT {counted}, count(*) FROM {table} GROUP BY 1")
        for event, rows in (
            ("INSERT", (("NEW", 1),)),
            ("DELETE", (("OLD", -1),)),
            ("UPDATE", (("OLD", -1), ("NEW", 1))),
        ):
            changes = "".join(
                f"INSERT INTO tallies VALUES ({name.format(row=row)}, {step}) "
                f"ON CONFLICT (name) DO UPDATE SET number = number + ({step}); "
                for row, step in rows
                for name in names
            )
            changed = " OR ".join(f"{name.format(row='OLD')} <> {name.format(row='NEW')}" for name in names)
            condition = f"WHEN {changed} " if event == "UPDATE" else ""
            op.execute(f"CREATE TRIGGER tally_{table}_{event} AFTER {event} ON {table} {condition}BEGIN {changes}END")


def downgrade() -> None:
    """Drop the triggers and the table."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in COUNTED:
        for event in ("INSERT", "DELETE", "UPDATE"):
            op.execute(f"DROP TRIGGER tally_{table}_{event}")
    op.drop_table("tallies")
