"""Alerts: conditions over what the jobs measured, and telling people about the ones that hold."""
