"""What the alert rules are, and what they find in the facts."""
