"""Processes of one installation: who runs what, the embedded broker, and the supervisor of `gengfu up`.

Nothing is imported here: `status` and `list` need a lock or an address and must not pay for the rest.
"""
