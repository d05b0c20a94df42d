"""Runs by name: the studies' grids, their records, and who makes what is missing."""
