"""Alembic runs this; the connection comes from app.core.migrate."""

from alembic import context

from app.core.migrate import VERSION_TABLE
from app.core.own_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite can't alter a table in place
    include_object=lambda _item, name, kind, *_rest: kind != "table" or str(name).startswith("gengfu_"),
)
context.run_migrations()
