"""The smaller nightly and hourly jobs: backlog, stuck tasks, tracking, backup."""
