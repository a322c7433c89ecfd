"""The state of what the program stands on: disks, system, database, broker."""
