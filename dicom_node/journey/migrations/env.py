"""Alembic's entry: upgrade the ledger with the engine that `database.prepare` passes."""

from alembic import context

from dicom_node.journey.ledger import Row

with context.config.attributes["engine"].connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        transactional_ddl=True,
        # The queue's own tables are DBOS' business.
        include_name=lambda name, kind, _parents: kind != "table" or name in Row.metadata.tables,
    )
    with context.begin_transaction():
        if connection.dialect.name == "sqlite":
            # Python begins no transaction for a change of tables: whoever is killed in between would leave half of it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        context.run_migrations()
    connection.commit()
