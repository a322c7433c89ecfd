"""Alerts: conditions over what was measured, the life of each that holds, and telling people until they know."""
