"""`Report`: what `check` found, as lines for a terminal and as JSON."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from ganforge.nn.stages import rectangle_stages

LINE = 96
"""Characters of a list in a line, about; it shows one item at least, and JSON all."""


class Report(BaseModel):
    """The result of `check`; `problems` make training fail, `warnings` may spoil its result.

    `counts` is readable images by split; `sizes` ("64x48": width x height) and `modes` (Pillow's names)
    count images, the most common first; `classes` counts the training split, `imbalance` is its largest
    class over its smallest. `animated` images have more frames and `paged` ones more pages than the first,
    which is used. `used_range` are the lowest and highest stored value. `fit` is what `--fit` came to, and
    `fit_reason` why. `notes` say how files were understood where that is in doubt, and which were not read.
    `duplicates` are groups of files with exactly equal pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    shape: tuple[int, int, int] | None = None
    source_shape: tuple[int, int, int] | None = None
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    modes: dict[str, int] = {}
    with_alpha: int = 0
    animated: int = 0
    paged: int = 0
    used_range: tuple[float, float] | None = None
    fit: str = ""
    fit_reason: str = ""
    classes: dict[str, int] = {}
    imbalance: float | None = None
    unlabelled: int = 0
    with_captions: int = 0
    partners_missing: list[str] = []
    duplicates: list[list[str]] = []
    duplicates_across_splits: int = 0
    unreadable: dict[str, str] = {}
    unlisted: int = 0
    notes: list[str] = []
    problems: list[str] = []
    warnings: list[str] = []

    def to_json(self) -> str:
        """The whole report as JSON."""
        return self.model_dump_json(indent=2)

    def lines(self) -> list[str]:
        """The report for a terminal, each fact in one line; long lists are cut, with their length."""
        lines = [f"data        {self.data}"]
        if self.shape is not None:
            lines.append(f"shape       {'x'.join(map(str, self.shape))} (channels, height, width)")
        if self.source_shape is not None:
            lines.append(f"sources     {'x'.join(map(str, self.source_shape))}, one for each image")
        for title, counts in (
            ("images", self.counts),
            ("sizes", self.sizes),
            ("modes", self.modes),
            ("classes", self.classes),
        ):
            if counts:
                lines.append(f"{title:<12}{shorten(f'{name}: {count:,}' for name, count in counts.items())}")
        if self.imbalance is not None:
            lines.append(f"imbalance   {self.imbalance:.1f} (largest class / smallest class)")
        total = sum(self.counts.values())
        for title, count, use in (
            ("with alpha", self.with_alpha, ""),
            ("animated", self.animated, "; the first frame is used"),
            ("with pages", self.paged, "; the first page is used"),
            ("captions", self.with_captions, ""),
        ):
            if count:
                lines.append(f"{title:<12}{count:,} of {total:,}{use}")
        if self.fit_reason:
            lines.append(f"fit         {self.fit}: {self.fit_reason}")
        if self.duplicates:
            groups = (" = ".join(group[:2]) + (" = ..." if group[2:] else "") for group in self.duplicates)
            lines.append(f"duplicates  {shorten(groups)}")
        if self.partners_missing:
            lines.append(f"no partner  {shorten(self.partners_missing)}")
        if self.unreadable:
            files = (f"{name} ({reason})" for name, reason in self.unreadable.items())
            lines.append(f"unreadable  {shorten(files)}")
        lines += [f"problem     {line}" for line in self.problems]
        lines += [f"warning     {line}" for line in self.warnings]
        lines += [f"note        {line}" for line in self.notes]
        return lines if self.problems else [*lines, f"ready to train{self._exception}"]

    @property
    def _exception(self) -> str:
        """Who is not ready to train on images of this shape; points have 2x1x1."""
        fits = self.shape in (None, (2, 1, 1)) or rectangle_stages(*self.shape[1:]) is not None
        return "" if fits else ", except for convolutional GANs"


def shorten(items: Iterable[str]) -> str:
    """As many of `items` as fit into a line, and how many more there are."""
    listed = list(items)
    shown, length = 0, 0
    while shown < len(listed) and (not shown or length + len(listed[shown]) + 2 <= LINE):
        length += len(listed[shown]) + 2
        shown += 1
    more = f", and {len(listed) - shown:,} more" if shown < len(listed) else ""
    return ", ".join(listed[:shown]) + more
