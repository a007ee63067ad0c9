"""The stored scores of what is exported."""

from dataclasses import replace

from ganforge.export.places import json_without_paths, text_without_paths
from ganforge.reporting.evaluations import StoredEvaluation, read_evaluations
from ganforge.runs.trained import Trained


def scores_of(trained: Trained) -> StoredEvaluation | None:
    """The most trustworthy evaluation of the weights that are exported, with names for paths; None: none.

    Those of another step do not count, nor raw weights where there are averaged ones. Where there are none,
    as in a package, "ema" means those that were exported.
    """
    config, weights = trained.run.config, ("ema", trained.resolve_weights("ema"))
    for evaluation in read_evaluations(trained.run.path)[0]:
        if evaluation.step == trained.step and evaluation.weights in weights:
            scores = tuple(json_without_paths(score, config) for score in evaluation.scores)
            return replace(
                evaluation, scores=scores, features=text_without_paths(evaluation.features, config)
            )
    return None
