"""What the records say: scores, tests, the verdict."""
