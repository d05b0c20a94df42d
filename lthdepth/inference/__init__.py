"""A trained network in use: smaller, faster, on photos of one's own."""
