"""One run, from its initial weights to its scores."""
