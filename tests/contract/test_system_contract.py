"""What every system promises, for each file of `ganforge/systems` and each kind of data.

A new system is tested here without a new line, unless no default is small enough (`SMALL`).
"""

import copy
import json
import re
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_checkpoint, save_checkpoint
from ganforge.runs.device import autocast
from ganforge.runs.ema import Average
from ganforge.runs.sampling import draw
from ganforge.system import DRAWING, Discriminates, LatentSystem, Prepares, System, generates_images
from ganforge.systems.discovery import available, check_needs, find
from ganforge.systems.gan import GAN
from ganforge.systems.pixelcnn import PixelCNN
from ganforge.training.state import Training, load_state, pack_state
from ganforge.training.update import OptimizerUpdate

CPU = torch.device("cpu")
DIGITS = DataSpec(channels=1, height=28, width=28, num_images=60_000, class_names=("0", "1", "2"))
COLOUR = DataSpec(channels=3, height=16, width=16, num_images=100, class_names=("cat", "dog"))
FEW_POINTS = DataSpec(channels=2, height=1, width=1, num_images=1_000, values="points")
MANY_POINTS = FEW_POINTS.model_copy(update={"num_images": 100_000})
COLOUR_OF_GREY = COLOUR.model_copy(update={"source_shape": (1, 16, 16)})
SHRUNK = COLOUR.model_copy(update={"source_shape": (3, 4, 4)})
CODES = {"caption_alphabet": "abc", "caption_length": 60}
CAPTIONED = COLOUR.model_copy(update=CODES)
EMBEDDED = COLOUR.model_copy(update={"embedding_size": 12})
SPECS = {
    "digits": DIGITS,
    "colour": COLOUR,
    "few_points": FEW_POINTS,
    "many_points": MANY_POINTS,
    "pairs": COLOUR_OF_GREY,
    "shrunk": SHRUNK,
    "captions": CAPTIONED,
    "embeddings": EMBEDDED,
}
# Data that only systems which need a part of it are put through.
FOR_ITS_NEEDS = {"pairs": "sources", "shrunk": "sources", "captions": "captions", "embeddings": "embeddings"}

# Applied to those fields that a system has.
SMALL: dict[str, Any] = {
    "batch": 4,
    "width": 16,
    "discriminator_width": 16,
    "latent_size": 6,
    "generator_hidden": (16,),
    "discriminator_hidden": (16,),
}
# Applied last: of these not even what the data suggests is small enough.
SMALLEST: dict[str, dict[str, Any]] = {
    "text_encoder": {"width": 4, "embedding_size": 8, "character_widths": (8, 8, 8)},
    "pixelcnn": {"width": 6, "layers": 2, "levels": 4, "head_width": 8},
    "pixelrnn": {"width": 6, "layers": 1, "levels": 4, "head_width": 8},
    "srgan": {"num_blocks": 1, "width": 8, "discriminator_width": 4},
    "srresnet": {"num_blocks": 1, "width": 8},
}
ENLARGING = {"srgan", "srresnet"}
"""Systems whose sources are smaller than their images, and that have no noise."""

# Data that a system rejects for the shape of its sources, besides what its `accepts` and `needs` rule out.
REJECTED_SOURCES: dict[str, set[str]] = {"pix2pix": {"shrunk"}, "srgan": {"pairs"}, "srresnet": {"pairs"}}


def rejects(name: str, data: str) -> bool:
    kind, spec = find(name), SPECS[data]
    declared = spec.values not in kind.accepts or bool(kind.needs - spec.offers)
    return declared or data in REJECTED_SOURCES.get(name, ())


class Case(NamedTuple):
    """A system, its data and a small config for it."""

    kind: type[System]
    spec: DataSpec
    fields: dict[str, Any]

    def build(self, **fields: Any) -> System:
        torch.manual_seed(3)
        system = self.kind(self.kind.Config(**(self.fields | fields)), self.spec)
        if isinstance(system, Prepares):
            system.prepare(make_batch(self.spec, 16).images)
        return system.train()


def case_of(name: str, data: str) -> Case:
    kind, spec = find(name), SPECS[data]
    fields = {field: value for field, value in SMALL.items() if field in kind.Config.model_fields}
    suggested = {field: value for field, (value, _) in kind.suggest(spec).items()}
    return Case(kind, spec, fields | suggested | {"batch": 4} | SMALLEST.get(name, {}))


def make_batch(spec: DataSpec, count: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.rand(count, *spec.shape, generator=generator) - 1
    labels = torch.arange(count) % len(spec.class_names) if spec.class_names else None
    sources = None
    if spec.source_shape is not None:
        sources = 2 * torch.rand(count, *spec.source_shape, generator=generator) - 1
    captions = embeddings = None
    if spec.caption_length:
        captions = torch.randint(1, 5, (count, spec.caption_length), generator=generator)
    if spec.embedding_size:
        embeddings = torch.randn(count, spec.embedding_size, generator=generator)
    return Batch(images, labels, captions, sources, embeddings)


def with_needs(spec: DataSpec, name: str) -> DataSpec:
    """`spec` with all that the system needs, save labels."""
    needs, extra = find(name).needs, {}
    if "sources" in needs:
        factor = 4 if name in ENLARGING and min(spec.height, spec.width) >= 4 else 1
        channels = spec.channels if name in ENLARGING else 1
        extra |= {"source_shape": (channels, spec.height // factor, spec.width // factor)}
    if "captions" in needs:
        extra |= CODES
    if "embeddings" in needs:
        extra |= {"embedding_size": 12}
    return spec.model_copy(update=extra)


def given_for(system: System, count: int) -> Batch | None:
    """What the system cannot draw itself when it is sampled."""
    return make_batch(system.data, count) if system.needs & {"sources", "embeddings"} else None


each_system = pytest.mark.parametrize("name", available())


PAIRS = [
    (name, data)
    for name in available()
    for data in SPECS
    if not rejects(name, data) and FOR_ITS_NEEDS.get(data) in {None, *find(name).needs}
]
# Options with a step of their own: the name of the case, its system, data and fields.
STEPS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dcgan-simultaneous": ("dcgan", "colour", {"update": "simultaneous"}),
    "dcgan-one_stage": ("dcgan", "digits", {"update": "one_stage", "discriminator_norm": "group"}),
    "dcgan-one_stage-points": ("dcgan", "few_points", {"update": "one_stage"}),
    "wgan_gp-penalty_share": ("wgan_gp", "colour", {"penalty_share": 0.5}),
    "r3gan-penalty_share": ("r3gan", "colour", {"penalty_share": 0.5}),
}


@pytest.fixture(params=[*map("-".join, PAIRS), *STEPS])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param in STEPS:
        name, data, fields = STEPS[request.param]
        plain = case_of(name, data)
        return plain._replace(fields=plain.fields | fields)
    return case_of(*request.param.split("-"))


class Recorder:
    """The engine's update, and what each call changed."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.optimizers = system.build_optimizers()
        self.update = OptimizerUpdate(self.optimizers, "cpu")
        self.calls: list[tuple[str, set[str]]] = []
        self._before = self._values()

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        assert not self._changed(), "parameters changed outside an update"
        gradient = self.update(name, loss, watch)
        self.calls.append((name, self._changed()))
        self._before = self._values()
        return gradient

    def _values(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.system.named_parameters()}

    def _changed(self) -> set[str]:
        return {name for name, value in self._values().items() if not torch.equal(value, self._before[name])}


def names_of(system: System, optimizer: torch.optim.Optimizer) -> set[str]:
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in system.named_parameters() if id(p) in own}


def training_of(system: System) -> Training:
    return Training(system, system.build_optimizers(), Average(system), CPU, "fp32")


def advance(training: Training, steps: int) -> list[dict[str, float]]:
    update, metrics = OptimizerUpdate(training.optimizers, "cpu"), []
    size = training.system.images_per_step()
    for _ in range(steps):
        training.system.schedule(training.optimizers, training.images)
        step = training.system.train_step(make_batch(training.system.data, size, training.step), update)
        training.step += 1
        training.average.update(size, training.images)
        training.meter.add(step)
        metrics.append({name: float(value) for name, value in step.items()})
    return metrics


# What a class looks like


@each_system
def test_class(name: str) -> None:
    kind = find(name)
    assert getattr(kind, "__final__", False), "a concrete system is @final"
    assert not kind.__subclasses__()
    assert re.match(r'[A-Z][^\n"]+ (19|20)\d\d, "[^"]+"', kind.__doc__ or ""), (
        "the docstring begins with the paper"
    )
    assert "Differs from the paper:" in (kind.__doc__ or "")
    module = vars(__import__(kind.__module__, fromlist=["_"]))
    own = [
        k
        for k in module.values()
        if isinstance(k, type) and issubclass(k, System) and k.__module__ == kind.__module__
    ]
    assert own == [kind], "one System in a file"


@each_system
def test_config(name: str) -> None:
    config = find(name).Config()
    assert type(config).model_validate_json(config.model_dump_json()) == config
    assert type(config).model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    undescribed = [field for field, info in type(config).model_fields.items() if not info.description]
    assert not undescribed
    with pytest.raises(ValidationError):
        type(config)(no_such_field=1)  # type: ignore[call-arg]  # a wrong field on purpose
    with pytest.raises(ValidationError):
        config.steps = 1  # type: ignore[misc]  # frozen, which is the test


def test_suggestions_are_legal(case: Case) -> None:
    suggested = case.kind.suggest(case.spec)
    config = case.kind.Config(**{field: value for field, (value, _) in suggested.items()})
    assert type(config).model_validate_json(config.model_dump_json()) == config
    assert all(why for _, why in suggested.values())


@each_system
def test_builds_from_defaults(name: str) -> None:
    kind = find(name)
    system = kind(kind.Config(), with_needs(DIGITS, name))
    assert set(kind.averaged) <= {child for child, _ in system.named_children()}
    assert system.images_per_step() % system.config.batch == 0


# What it refuses


@each_system
@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 28, 32), (1, 1, 1), (3, 3, 7), (1, 4, 4), (2, 16, 16)])
def test_builds_or_says_what_is_wrong(name: str, shape: tuple[int, int, int]) -> None:
    kind = find(name)
    channels, height, width = shape
    spec = with_needs(DataSpec(channels=channels, height=height, width=width, num_images=10), name)
    fields = {field: value for field, value in SMALL.items() if field in kind.Config.model_fields}
    fields |= SMALLEST.get(name, {})
    try:
        system, said = kind(kind.Config(**fields), spec), ""
    except UserError as error:
        system, said = None, str(error)
    if system is None:
        assert "\n" not in said
        assert "--" in said, "names the option that would help"
    elif generates_images(system):
        assert system.sample(3, given_for(system, 3)).shape == (3, *shape)


@pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name in available() for data in SPECS if rejects(name, data)]
)
def test_rejects_in_one_line(name: str, data: str) -> None:
    def build() -> None:
        check_needs(find(name), name, SPECS[data])
        case_of(name, data).build()

    with pytest.raises(UserError) as refused:
        build()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_refuses_points_in_networks_for_pixels(name: str) -> None:
    kind = find(name)
    with pytest.raises(UserError, match="--network mlp"):
        kind(kind.Config(), FEW_POINTS)


@pytest.mark.parametrize("size", [4, 7, 11, 30, 63])
def test_dcgan_refuses_sizes_it_cannot_reach(size: int) -> None:
    kind = find("dcgan")
    with pytest.raises(UserError, match=f"{size}x{size}"):
        kind(kind.Config(), DataSpec(channels=1, height=size, width=size, num_images=10))


def test_needs_are_checked() -> None:
    class Conditional(System):
        needs = frozenset({"labels", "captions"})

    plain = DataSpec(channels=1, height=8, width=8, num_images=10)
    with pytest.raises(UserError, match="needs captions and labels; this data has images only"):
        check_needs(Conditional, "conditional", plain)
    with pytest.raises(UserError, match="needs captions; this data has labels"):
        check_needs(Conditional, "conditional", plain.model_copy(update={"class_names": ("a", "b")}))
    full = {"class_names": ("a", "b"), "caption_alphabet": "abc"}
    check_needs(Conditional, "conditional", plain.model_copy(update=full))


@each_system
def test_lacking_needs_are_refused(name: str) -> None:
    kind = find(name)
    plain = DataSpec(channels=1, height=28, width=28, num_images=10)
    if kind.needs:
        with pytest.raises(UserError):
            check_needs(kind, name, plain)
    else:
        check_needs(kind, name, plain)


# What a step does


def test_every_parameter_has_one_optimizer(case: Case) -> None:
    system = case.build()
    optimizers = system.build_optimizers()
    owned = [id(p) for o in optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in system.parameters())
    assert system.build_optimizers()[next(iter(optimizers))] is not optimizers[next(iter(optimizers))]


def test_a_step_changes_each_optimizers_parameters_and_nothing_else(case: Case) -> None:
    system = case.build()
    optimizers = system.build_optimizers()
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] *= 0.01  # not so far that a hinge loss is 0, and so are its gradients
    plain = OptimizerUpdate(optimizers, "cpu")
    for seed in range(2):  # a residual network may begin as the identity, its inner weights not yet heard
        system.train_step(make_batch(case.spec, system.images_per_step(), seed), plain)
    recorder = Recorder(system)
    flags = {name: p.requires_grad for name, p in system.named_parameters()}
    modes = {name: module.training for name, module in system.named_modules()}
    batch = make_batch(case.spec, system.images_per_step())
    given = copy.deepcopy(batch)
    system.schedule(recorder.optimizers, 0)
    system.train_step(batch, recorder)
    assert {name for name, _ in recorder.calls} == set(recorder.optimizers)
    for name, changed in recorder.calls:
        assert changed == names_of(system, recorder.optimizers[name])
    assert torch.equal(batch.images, given.images)
    assert {name: p.requires_grad for name, p in system.named_parameters()} == flags
    assert {name: module.training for name, module in system.named_modules()} == modes


def test_metrics(case: Case) -> None:
    system = case.build()
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    metrics = system.train_step(make_batch(case.spec, system.images_per_step()), update)
    assert metrics
    for name, value in metrics.items():
        assert value.shape == (), name
        assert not value.requires_grad, name
        assert value.isfinite(), name
        assert value.dtype == torch.float32, name


def test_bf16_autocast(case: Case) -> None:
    system = case.build()
    recorder = Recorder(system)
    for seed in range(2):
        with autocast(CPU, "bf16"):
            batch = make_batch(case.spec, system.images_per_step(), seed)
            metrics = system.train_step(batch, recorder)
        assert all(value.isfinite() and value.dtype == torch.float32 for value in metrics.values())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in system.parameters())
    assert {name for name, changed in recorder.calls if changed} == set(recorder.optimizers)


def fake_step(build: Callable[[], System], extra: Callable[[Tensor], Any] = lambda loss: None) -> None:
    """One step on tensors without values, where a read of a value raises."""
    with FakeTensorMode():
        system = build()
        update = OptimizerUpdate(system.build_optimizers(), "cpu")
        count, data = system.images_per_step(), system.data
        batch = Batch(
            torch.empty(count, *data.shape),
            torch.zeros(1, dtype=torch.int64).expand(count),
            torch.empty(count, data.caption_length, dtype=torch.int64) if data.caption_length else None,
            torch.empty(count, *data.source_shape) if data.source_shape else None,
            torch.empty(count, data.embedding_size) if data.embedding_size else None,
        )
        for _ in range(2):
            metrics = system.train_step(batch, update)
        assert all(value.shape == () for value in metrics.values())
        extra(next(iter(metrics.values())))


def test_a_step_reads_nothing_back(case: Case) -> None:
    fake_step(lambda: case.kind(case.kind.Config(**case.fields), case.spec).train())


@each_system
def test_a_step_of_the_defaults_reads_nothing_back(name: str) -> None:
    fake_step(lambda: find(name)(find(name).Config(), with_needs(DIGITS, name)).train())


@pytest.mark.parametrize("read", [lambda loss: loss.item(), lambda loss: bool(loss > 0), float])
def test_a_read_would_be_seen(read: Callable[[Tensor], Any]) -> None:
    case = case_of("gan", "digits")
    with pytest.raises(DataDependentOutputException):
        fake_step(lambda: case.kind(case.kind.Config(**case.fields), case.spec), read)


# What is kept


@pytest.mark.parametrize("before", [0, 2])
def test_save_load_step_is_bit_equal(case: Case, before: int, tmp_path: Path) -> None:
    first = training_of(case.build())
    advance(first, before)
    path = save_checkpoint(tmp_path, first.step, *pack_state(first), keep=1)
    expected = advance(first, 2)

    second = training_of(case.kind(case.kind.Config(**case.fields), case.spec).train())
    torch.manual_seed(99)
    load_state(second, load_checkpoint(path))
    assert second.step == before
    assert advance(second, 2) == expected
    left, right = pack_state(first), pack_state(second)
    assert json.loads(json.dumps(left[1])) == json.loads(json.dumps(right[1]))
    assert left[0].keys() == right[0].keys()
    for part, tensors in left[0].items():
        assert tensors.keys() == right[0][part].keys()
        assert all(torch.equal(tensor, right[0][part][key]) for key, tensor in tensors.items()), part


def test_samples(case: Case) -> None:
    system = case.build()
    if not generates_images(system):
        with pytest.raises(UserError, match="makes no images"):
            system.sample(5)
        return
    given, modes = given_for(system, 5), {name: module.training for name, module in system.named_modules()}
    with training_of(system).sampled() as sampled:
        samples = torch.cat(list(draw(sampled, 5, seed=1, given=given)))
        again = torch.cat(list(draw(sampled, 5, seed=1, given=given)))
        other = torch.cat(list(draw(sampled, 5, seed=2, given=given)))
    assert samples.shape == (5, *case.spec.shape)
    assert samples.dtype == torch.float32
    assert samples.isfinite().all()
    assert len(samples.flatten(1).unique(dim=0)) == 5
    if case.spec.values == "pixels":
        assert float(samples.abs().max()) <= 1
    assert torch.equal(samples, again)
    assert torch.equal(samples, other) == (type(system).__name__.lower() in ENLARGING)
    assert {name: module.training for name, module in system.named_modules()} == modes


def arguments_of(system: System, batch: Batch) -> dict[str, tuple[Any, ...]]:
    """Arguments of each method that may draw random numbers."""
    count = len(batch.images)
    latents = (system.draw_latents(count),) if isinstance(system, LatentSystem) else ()
    return {
        "sample": (count, batch if given_for(system, count) else None),
        "draw_latents": (count,),
        "decode": (*latents, batch if given_for(system, count) else None),
        "translate": (batch.sources,),
        "complete": (batch.images, 2),
        "complete_rows": (batch.images, 2),
        "reconstruct": (batch.images,),
        "measure": (batch,),
        "outlier_scores": (batch,),
    }


def whole(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a method returns; of rows that it gives one by one, all."""
    result = method(*arguments, **options)
    return torch.stack(list(result)) if isinstance(result, Iterator) else result


def test_what_draws_takes_its_numbers_from_the_generator_alone(case: Case) -> None:
    """The numbers of a seed are those that torch itself gives by the seed, and its own are left alone."""
    system = case.build().eval()
    batch = make_batch(case.spec, 5)
    if not generates_images(system):
        return
    for method, arguments in arguments_of(system, batch).items():
        if not hasattr(system, method):
            continue
        call = partial(whole, getattr(system, method))
        with torch.no_grad():
            before = torch.get_rng_state()
            own = call(*arguments, generator=torch.Generator().manual_seed(11))
            assert torch.equal(torch.get_rng_state(), before), method
            torch.manual_seed(11)
            torchs = call(*arguments)
        pairs = [(own, torchs)] if isinstance(own, Tensor) else [(own[name], torchs[name]) for name in own]
        assert all(torch.equal(one, other) for one, other in pairs), method
    assert set(arguments_of(system, batch)) == set(DRAWING)


def test_extreme_latents_stay_in_range(case: Case) -> None:
    """Far from the prior, images saturate: still finite, in [-1, 1], and not those of ordinary latents."""
    system = case.build()
    if not isinstance(system, LatentSystem):
        pytest.skip("no latents")
    system.eval()
    given = given_for(system, 8)
    with torch.no_grad():
        latents = system.draw_latents(8)
        near, far = (system.decode(scale * latents, given) for scale in (1, 1e4))
        further = system.decode(1e6 * latents, given)
    for images in (far, further):
        assert images.shape == (8, *case.spec.shape)
        assert images.isfinite().all()
        if case.spec.values == "pixels":
            assert float(images.abs().max()) <= 1
    assert not torch.allclose(near, far, atol=1e-3)


UNCONDITIONAL_DISCRIMINATORS = {"acgan", "srgan"}
"""Their discriminators see images only, though a step needs labels or sources."""


def test_discriminator_gives_one_logit_for_each_image(case: Case) -> None:
    """Of each image alone, with a condition of it where the discriminator has one, and None without."""
    system = case.build()
    if not isinstance(system, Discriminates):
        pytest.skip("no discriminator of single images")
    system.eval()
    batch, name = make_batch(case.spec, 7), type(system).__name__.lower()
    conditional = bool(system.conditions) and name not in UNCONDITIONAL_DISCRIMINATORS
    with torch.no_grad():
        logits = system.discriminate(batch.images, batch)
        bare = system.discriminate(batch.images)
        assert logits is not None
        assert logits.shape == (7,)
        assert logits.isfinite().all()
        assert len(logits.unique()) > 1, "depends on the image"
        if not conditional:
            assert bare is not None
            assert torch.equal(bare, logits)
            return
        assert bare is None
        shifted = changed_conditions(batch)
        other = system.discriminate(batch.images, shifted)
    assert other is not None
    assert float((other - logits).abs().max()) > 1e-4 * float(logits.abs().max()), "depends on the condition"


def changed_conditions(batch: Batch) -> Batch:
    """`batch` with the conditions of its next image, and so other ones, in the place of its own."""

    def rolled(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.roll(1, 0)

    return Batch(batch.images, rolled(batch.labels), None, rolled(batch.sources), rolled(batch.embeddings))


@pytest.mark.parametrize(("name", "data"), [("sngan", "digits"), ("r3gan", "digits"), ("pixelcnn", "digits")])
def test_optional_labels_change_what_is_said_of_an_image(name: str, data: str) -> None:
    """With --conditional: None, or an error, without labels; other numbers with other labels."""
    case = case_of(name, data)
    system = case.build(conditional=True).eval()
    with torch.no_grad():  # where labels enter, weights may start at 0
        for parameter in system.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    batch = make_batch(case.spec, 6)
    other = changed_conditions(batch)
    assert system.conditions == {"labels"}
    with torch.no_grad():
        if isinstance(system, PixelCNN):
            with pytest.raises(UserError, match="labels"):
                system.nats(batch.images)
            assert not torch.equal(system.nats(batch.images, batch), system.nats(batch.images, other))
            return
        assert isinstance(system, Discriminates)
        assert system.discriminate(batch.images) is None
        own, others = (system.discriminate(batch.images, given) for given in (batch, other))
    assert own is not None
    assert others is not None
    assert not torch.equal(own, others)


# What `System` is


def test_a_system_has_few_members() -> None:
    members = {name for name in {**vars(System), **System.__annotations__} if not name.startswith("_")}
    assert len(members) <= 16, sorted(members)
    assert {"Config", "accepts", "needs", "train_step", "sample"} <= members


@each_system
def test_the_step_follows_the_networks_and_their_optimizers(name: str) -> None:
    methods = [key for key, value in vars(find(name)).items() if isinstance(value, types.FunctionType)]
    assert methods[:3] == ["__init__", "build_optimizers", "train_step"]


# The GAN's own rules


def test_algorithm_1() -> None:
    """k discriminator updates on fresh data and noise, then one of the generator on fresh noise."""
    case = case_of("gan", "many_points")
    system = case.build(play="alternating", discriminator_steps=3)
    assert isinstance(system, GAN)
    assert system.images_per_step() == 12
    latents: list[Tensor] = []
    judged: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[0]))
    system.discriminator.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].detach()))
    recorder, batch = Recorder(system), make_batch(case.spec, 12)
    system.train_step(batch, recorder)
    assert [name for name, _ in recorder.calls] == ["discriminator"] * 3 + ["generator"]
    assert torch.equal(torch.cat(judged[0:6:2]), batch.images)
    assert len(judged) == 7
    assert len(torch.cat(latents).unique(dim=0)) == 4 * 4


def test_k_needs_alternating_play() -> None:
    with pytest.raises(ValidationError, match="alternating"):
        GAN.Config(discriminator_steps=2)


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
@pytest.mark.parametrize("data", ["digits", "many_points"])
def test_simultaneous_play_is_two_explicit_backward_passes(loss: str, data: str) -> None:
    """The released code: half the discriminator's loss, all of the generator's, the same pass and masks."""
    case = case_of("gan", data)
    fields = {"loss": loss, "play": "simultaneous", "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    system = case.build(**fields)
    assert isinstance(system, GAN)
    for parameter in system.discriminator.parameters():  # its own start is too near 0 for a sharp comparison
        nn.init.normal_(parameter, std=0.1)
    twin, batch = copy.deepcopy(system), make_batch(case.spec, 4)
    before = {name: p.detach().clone() for name, p in system.named_parameters()}

    torch.manual_seed(5)
    system.train_step(batch, OptimizerUpdate(system.build_optimizers(), "cpu"))

    torch.manual_seed(5)
    fakes = twin.generator(twin.draw_latents(4))
    real_logits, fake_logits = twin.discriminator(torch.cat([batch.images, fakes])).double().chunk(2)
    probability = torch.sigmoid(fake_logits)
    discriminator_loss = -0.5 * (torch.sigmoid(real_logits).log().mean() + (1 - probability).log().mean())
    generator_loss = (1 - probability).log().mean() if loss == "minimax" else -probability.log().mean()
    for name, value in (("discriminator", discriminator_loss), ("generator", generator_loss)):
        own = [f"{name}.{key}" for key, _ in getattr(twin, name).named_parameters()]
        expected = torch.autograd.grad(value, list(getattr(twin, name).parameters()), retain_graph=True)
        after = dict(system.named_parameters())
        moved = torch.cat([(before[key] - after[key].detach()).flatten() for key in own])
        wanted = torch.cat([gradient.flatten() for gradient in expected])
        # The step of rate 1 is the gradient, rounded to the weights' own precision.
        assert float((moved - wanted).norm() / wanted.norm()) < 1e-5, name


def scheduled(images_seen: int, times: int = 1) -> dict[str, Any]:
    system = GAN(GAN.Config(generator_hidden=(2,), discriminator_hidden=(2,)), DIGITS)
    optimizers = system.build_optimizers()
    for _ in range(times):
        system.schedule(optimizers, images_seen)
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    assert len({group["lr"] for group in groups}) == len({group["momentum"] for group in groups}) == 1
    return groups[0]


@pytest.mark.parametrize("steps", [0, 1, 1_000, 125_000, 2_000_000, 10_000_000])
def test_learning_rate_after_steps(steps: int) -> None:
    rate = max(0.1 / 1.000004**steps, 1e-6)
    assert scheduled(100 * steps)["lr"] == pytest.approx(rate, rel=1e-9)
    assert scheduled(100 * steps, times=3)["lr"] == scheduled(100 * steps)["lr"]


@pytest.mark.parametrize(
    ("epoch", "momentum"), [(0, 0.5), (1, 0.5), (63.25, 0.55), (125.5, 0.6), (250, 0.7), (300, 0.7)]
)
def test_momentum_at_epoch(epoch: float, momentum: float) -> None:
    assert scheduled(int(epoch * DIGITS.num_images))["momentum"] == pytest.approx(momentum, rel=1e-9)
