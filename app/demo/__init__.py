"""The sample application: its tables, and realistic tasks, receipts and files to do the night's work on."""
