"""Carrying out a job: one run with its record and lock, one slot, and what its process may touch."""
