"""Those of DBOS's own tables that the node looks into, where DBOS has no question for what it wants to know."""

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTables:
    """runs: one row each, whatever became of it. versions: of the journey, that ever ran on this database."""

    runs: sa.TableClause
    versions: sa.TableClause


def queue_tables(bind: sa.Engine | sa.Connection) -> QueueTables:
    """The tables where DBOS keeps them in this kind of database."""
    schema = None if bind.dialect.name == "sqlite" else "dbos"
    runs = ("workflow_uuid", "name", "status", "executor_id", "application_version", "queue_name",
            "queue_partition_key", "delay_until_epoch_ms")  # fmt: skip
    return QueueTables(
        runs=sa.table("workflow_status", *map(sa.column, runs), schema=schema),
        versions=sa.table(
            "application_versions", *map(sa.column, ("version_name", "version_timestamp")), schema=schema
        ),
    )
