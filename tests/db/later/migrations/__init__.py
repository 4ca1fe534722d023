"""The app's own migrations, and two more after the last of them."""

from genesys_eventbridge import migrations

__path__.extend(migrations.__path__)
