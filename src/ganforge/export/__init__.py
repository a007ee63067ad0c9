"""Trained runs in other forms."""
