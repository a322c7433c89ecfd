"""What is to be said to whom, and when: decided, grouped and written down to be sent."""
