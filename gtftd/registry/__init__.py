"""Models: what they were made of, how good they are, whom they serve, and the way back."""
