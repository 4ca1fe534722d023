"""Business events from Django to Genesys Cloud EventBridge: a transactional outbox with a relay."""

__version__ = "0.1.0"
