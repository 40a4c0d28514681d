"""Scores of a generator, and what they are compared with."""
