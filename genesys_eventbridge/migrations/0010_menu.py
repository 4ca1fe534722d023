"""Pages that Django's index lists like models. No table changes."""

from django.db import migrations

from genesys_eventbridge.db.online_migrations import OnlineMigration


class Migration(OnlineMigration):
    dependencies = [("genesys_eventbridge", "0009_alerts")]

    operations = [
        migrations.CreateModel(
            name="CataloguePage",
            fields=[],
            options={
                "verbose_name": "event catalogue",
                "verbose_name_plural": "event catalogue",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("genesys_eventbridge.outboxevent",),
        ),
        migrations.CreateModel(
            name="DashboardPage",
            fields=[],
            options={
                "verbose_name": "dashboard",
                "verbose_name_plural": "dashboard",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("genesys_eventbridge.outboxevent",),
        ),
        migrations.CreateModel(
            name="FailuresPage",
            fields=[],
            options={
                "verbose_name": "failures",
                "verbose_name_plural": "failures",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("genesys_eventbridge.outboxevent",),
        ),
    ]
