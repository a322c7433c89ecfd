"""The life of an alert: from pending over firing to resolved, kept in the database."""
