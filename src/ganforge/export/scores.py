"""The stored scores of what is exported."""

from dataclasses import replace

from ganforge.export.places import json_without_paths, text_without_paths
from ganforge.reporting.evaluations import StoredEvaluation, read_evaluations
from ganforge.runs.trained import Trained


def scores_of(trained: Trained) -> StoredEvaluation | None:
    """The most trustworthy evaluation of `trained`, with names for paths; None where there is none."""
    evaluations, _ = read_evaluations(trained.run.path)
    if not evaluations:
        return None
    first, config = evaluations[0], trained.run.config
    scores = tuple(json_without_paths(score, config) for score in first.scores)
    return replace(first, scores=scores, features=text_without_paths(first.features, config))
