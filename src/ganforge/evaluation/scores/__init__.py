"""Scores of one run, by kind."""
