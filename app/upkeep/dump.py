"""What both ways of copying a database share."""


class BackupFailed(Exception):
    """No backup could be made; the message is one line without secrets and says what to do."""
