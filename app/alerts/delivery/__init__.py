"""Bringing what was written down to people, again and again until it arrives."""
