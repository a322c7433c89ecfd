"""What sees that something is wrong and has people told: the monitor with its watchman, and the alert desk."""
