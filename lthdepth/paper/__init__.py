"""What the paper shows, and how it is built."""
