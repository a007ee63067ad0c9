"""What several evaluations share: opened data, extractors, and the features of real images."""

import json
from pathlib import Path
from typing import Any

from ganforge.data.dataset import Dataset
from ganforge.data.own import OwnData
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.select import feature_extractor
from ganforge.runs.folder import Run
from ganforge.text.embeddings import data_of


class SharedWork:
    """Data, extractors and features that one evaluation has made, for the next of equal data."""

    def __init__(self) -> None:
        self._datasets: dict[str, Dataset] = {}
        self._extractors: dict[tuple[int, str, Path | None], FeatureExtractor] = {}
        self._memos: dict[tuple[int, str], dict[str, Any]] = {}

    def data_of(self, run: Run, data: str | OwnData | None = None) -> Dataset:
        """The data of `run`, as `text.embeddings.data_of` opens them; equal data are opened once."""
        options = run.config.data.model_dump(mode="json", exclude={"data", "sources", "text_encoder"})
        own = str(run.path) if run.config.spec.embedding_size or run.config.origin is not None else ""
        parts = [run.config.fingerprint, options, run.config.spec.model_dump(mode="json"), own]
        key = json.dumps(parts, sort_keys=True)
        if key not in self._datasets:
            self._datasets[key] = data_of(run, data)
        return self._datasets[key]

    def extractor(self, name: str, dataset: Dataset, weights: Path | None = None) -> FeatureExtractor:
        """The extractor, as `feature_extractor` makes it."""
        key = id(dataset), name, weights
        if key not in self._extractors:
            self._extractors[key] = feature_extractor(name, dataset, weights)
        return self._extractors[key]

    def memo(self, dataset: Dataset, features: str) -> dict[str, Any]:
        """What evaluations by these features of this data keep for one another."""
        return self._memos.setdefault((id(dataset), features), {})
