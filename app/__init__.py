"""Gengfu: the scheduled maintenance and monitoring worker. Nothing below this package imports Celery."""

__version__ = "0.1.0"
