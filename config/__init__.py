"""What an operator edits (*.toml), and the Celery configuration made from it."""
