"""Grids, charts and the report page of a run."""
