"""One remote id proves one event. The index is built beside the traffic: no statement waits for the whole table."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from genesys_eventbridge.db.online_migrations import short_waits


class AddUniqueOnline(migrations.AddConstraint):
    """AddConstraint of a unique column that neither locks the table (PostgreSQL) nor copies it (SQLite)."""

    constraint: models.UniqueConstraint

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: migrations.state.ProjectState,
        to_state: migrations.state.ProjectState,
    ) -> None:
        apps: Apps = to_state.apps
        model = apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        vendor, quote = schema_editor.connection.vendor, schema_editor.quote_name
        name, table = quote(self.constraint.name), quote(model._meta.db_table)
        (column,) = (quote(model._meta.get_field(field).column) for field in self.constraint.fields)
        if vendor == "postgresql":
            # An index whose building was interrupted is there and not valid: begin again.
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            schema_editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({column})")
            with short_waits(schema_editor):  # not for the index: it holds up no writer while it waits
                schema_editor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")
        elif vendor == "sqlite":
            schema_editor.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {table} ({column})")
        else:
            with short_waits(schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("genesys_eventbridge", "0004_wire"),
    ]

    operations = [
        AddUniqueOnline(
            model_name="outboxevent",
            constraint=models.UniqueConstraint(fields=["remote_key"], name="eventbridge_remote_key"),
        ),
    ]
