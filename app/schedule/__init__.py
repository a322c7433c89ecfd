"""When jobs run and what became of each run."""
