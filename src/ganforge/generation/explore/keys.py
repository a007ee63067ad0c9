"""Latents with their conditions, between and around which a run is explored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.data.batch import Batch, conditions
from ganforge.errors import UserError
from ganforge.generation.truncation import truncated
from ganforge.nn.paths import lerp, slerp
from ganforge.runs.trained import Label, Trained, Weights
from ganforge.system import LatentSystem
from ganforge.text.embeddings import describe


@dataclass(frozen=True)
class Keys:
    """Latents `[n, ...]` of a run, and for each its caption embedding or class, where the system has them."""

    latents: Tensor
    embeddings: Tensor | None = None
    labels: Tensor | None = None

    def given(self) -> Batch | None:
        """The conditions, for `Trained.decode`."""
        if self.embeddings is None and self.labels is None:
            return None
        return conditions(labels=self.labels, embeddings=self.embeddings)

    def rows(self, indices: Tensor) -> "Keys":
        """Those of `indices` int64 `[m]`."""
        parts = (self.latents, self.embeddings, self.labels)
        return Keys(*(None if part is None else part[indices] for part in parts))  # type: ignore[arg-type]


def latent_system(trained: Trained) -> LatentSystem:
    """The system of `trained`; raises UserError where it decodes no latents."""
    if not isinstance(trained.system, LatentSystem):
        raise UserError(
            f"{trained.run.config.system} decodes no latents, so there is nothing to explore: use a run of a "
            "GAN, vae or autoencoder"
        )
    return trained.system


def keys_of_seeds(
    trained: Trained,
    seeds: Sequence[int],
    labels: Sequence[Label] | None = None,
    texts: Sequence[str] = (),
    weights: Weights = "ema",
    truncation: float | None = None,
) -> Keys:
    """The latents behind the sample of each seed, as `ganforge sample --count 1 --seed N` draws it.

    Labels or prompts take turns. Several prompts or labels with one seed share its latents. Raises UserError
    for conditions that the system does not take, or lacks, and for more of them than seeds.
    """
    system = latent_system(trained)
    if "embeddings" in system.needs and not texts:
        raise UserError(f'{trained.run.config.system} draws what a prompt says: add --text "a red apple"')
    given = max(len(texts), 0 if labels is None else len(labels))
    if 1 < len(seeds) < given:
        raise UserError(
            f"{given} labels or prompts for {len(seeds)} seeds: expected as many seeds, or a single one"
        )
    if texts and len(seeds) == 1:
        seeds = [seeds[0]] * len(texts)
    latents = torch.cat([truncated(trained, 1, seed, weights, truncation) for seed in seeds])
    embeddings = describe(trained, texts).embeddings if texts else None
    if embeddings is not None:
        embeddings = embeddings[torch.arange(len(seeds)) % len(embeddings)]
    classes = None
    if labels is not None:
        classes = trained.conditions(labels, max(len(seeds), len(labels))).labels
        if classes is not None and len(seeds) == 1:
            latents = latents.expand(len(classes), *latents.shape[1:])
    elif "labels" in system.conditions:
        classes = torch.zeros(len(latents), dtype=torch.long)
    return Keys(latents, embeddings, classes)


def between(trained: Trained, keys: Keys, places: Tensor, closed: bool = False, linear: bool = False) -> Keys:
    """The keys at `places` float64 `[m]`: 0 is the first, 1 the second; `closed`: after the last the first.

    Along the arc where latents are Gaussian, else or with `linear` along the line; embeddings along the line;
    a class changes half-way. Numbers in which samples are not continuous stay those of the first key.
    """
    system, count = latent_system(trained), len(keys.latents)
    first = places.floor().long().clamp(max=count - 1)
    second = (first + 1) % count if closed else (first + 1).clamp(max=count - 1)
    shares = places - first
    starts, ends = keys.rows(first), keys.rows(second)
    move = slerp if system.latents_are_gaussian and not linear else lerp
    latents = move(starts.latents, ends.latents, shares).to(keys.latents.dtype)
    if (size := system.continuous_size) is not None:
        latents = torch.cat([latents[:, :size], keys.latents[:1, size:].expand(len(latents), -1)], 1)
    made = Keys(latents)
    if starts.embeddings is not None and ends.embeddings is not None:
        mixed = torch.lerp(starts.embeddings, ends.embeddings, shares[:, None].float())
        made = replace(made, embeddings=mixed)
    if starts.labels is not None and ends.labels is not None:
        made = replace(made, labels=torch.where(shares < 0.5, starts.labels, ends.labels))
    return made
