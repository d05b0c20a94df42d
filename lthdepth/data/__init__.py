"""Frames, weights and pictures: what comes from files, and the built-in rooms."""
