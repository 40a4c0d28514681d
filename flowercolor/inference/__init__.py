"""Coloring photos: one, or many files."""
