"""Parts that every capability stands on; they know nothing of the layers above."""
