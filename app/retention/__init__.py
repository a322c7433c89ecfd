"""Retention: what has expired goes, rows, their receipts and their files as one, and temporary files and old logs.

cleanup      one run from lock to report
rows         expired rows, in small transactions that also write down which files they leave behind
outbox       those files, removed once the transaction that orphaned them is on disk
references   files that a row still names
directories  temporary files and logs, by age
preview      the same figures without changing anything
"""
