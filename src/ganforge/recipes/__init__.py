"""Recorded trainings and their reproduction."""
