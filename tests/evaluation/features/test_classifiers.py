import hashlib
import json
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from ganforge.data.batch import DataSpec, to_float
from ganforge.data.open import open_dataset, source_fingerprint
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import (
    ReferenceClassifier,
    available_classifiers,
    classifier_of,
    load_classifier,
)
from ganforge.evaluation.features.classifiers import train as training
from ganforge.evaluation.features.classifiers.classifier import Classifier, fold
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.metrics.kernel import kernel_distance


@pytest.fixture(scope="module")
def judge() -> ReferenceClassifier:
    return load_classifier("mnist")


@pytest.fixture(scope="module")
def features(judge: ReferenceClassifier, digits: tuple[Tensor, Tensor]) -> Tensor:
    """Those of the first 4000 images."""
    return judge.features(digits[0][:4000])


def test_the_shipped_weights_know_the_digits(
    judge: ReferenceClassifier, digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = digits
    assert len(images) == 10_000
    right = (judge.classify(images).argmax(1) == labels).float().mean().item() * 100
    assert right >= 99
    record = json.loads(
        (resources.files("ganforge.evaluation.features.classifiers") / "mnist.json").read_text()
    )
    assert right == pytest.approx(record["test_accuracy_percent"], abs=0.03)


@pytest.mark.parametrize("name", available_classifiers())
def test_the_record_belongs_to_the_weights(name: str) -> None:
    judge = load_classifier(name)
    files = resources.files("ganforge.evaluation.features.classifiers")
    weights = (files / f"{name}.safetensors").read_bytes()
    assert len(weights) < 2_000_000
    digest = hashlib.sha256(weights).hexdigest()
    record = json.loads((files / f"{name}.json").read_text())
    assert record["weights_sha256"] == digest
    assert (record["data"], record["source_fingerprint"]) == (name, judge.source_fingerprint)
    for words in (
        f"{name} classifier",
        "128 features",
        digest[:12],
        f"test accuracy {record['test_accuracy_percent']:.2f} %",
        "8 bit",
        "antialiased bilinear",
    ):
        assert words in judge.description


def test_features_do_not_depend_on_the_batch(
    judge: ReferenceClassifier, digits: tuple[Tensor, Tensor], features: Tensor
) -> None:
    assert features.shape == (4000, judge.feature_size)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    picked = torch.tensor([3, 900, 3999, 12])
    torch.testing.assert_close(judge.features(digits[0][picked]), features[picked], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(judge.features(digits[0][900:901]), features[900:901], rtol=1e-4, atol=1e-4)
    assert judge.features(digits[0][:0]).shape == (0, judge.feature_size)


def test_images_are_classified_as_saved_files_and_without_autocast(
    judge: ReferenceClassifier, digits: tuple[Tensor, Tensor], features: Tensor
) -> None:
    images = digits[0][:500]
    with torch.autocast("cpu", torch.bfloat16):
        # Less than half a grey level and values out of range do not survive a PNG.
        blurred = torch.where(images >= 1, images + 3, images + 0.9 / 255)
        assert torch.equal(judge.features(blurred), features[:500])


def test_reduced_precision_set_by_the_run_is_put_aside_and_back(
    judge: ReferenceClassifier, digits: tuple[Tensor, Tensor], features: Tensor
) -> None:
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # not in torch's stubs
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "bf16"
        assert torch.equal(judge.features(digits[0][:500]), features[:500])
        assert setting.fp32_precision == "bf16"
    finally:
        setting.fp32_precision = before


def test_other_sizes_are_resized(judge: ReferenceClassifier, digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits[0][:1000], digits[1][:1000]
    large = F.interpolate(images, (64, 64), mode="bilinear", antialias=True)
    assert (judge.classify(large).argmax(1) == labels).float().mean() > 0.97


def test_distances_tell_digits_from_noise(features: Tensor, judge: ReferenceClassifier) -> None:
    halves = Moments.of(features[0::2]), Moments.of(features[1::2])
    noise = judge.features(torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    near, far = frechet_distance(*halves), frechet_distance(halves[0], Moments.of(noise))
    scale = halves[0].covariance.trace().item()
    assert near < 0.02 * scale
    assert far > 100 * near
    kernel = kernel_distance(features[0::2], features[1::2], num_subsets=10)
    assert abs(kernel.mean) < 3 * kernel.std


def test_a_classifier_belongs_to_the_data_it_was_trained_on() -> None:
    digits = DataOptions(data="mnist")
    assert classifier_of(open_dataset(digits)) is load_classifier("mnist")
    assert classifier_of(open_dataset(digits.model_copy(update={"channels": "color"}))) is None
    assert classifier_of(open_dataset(DataOptions(data="ring"))) is None
    assert set(available_classifiers()) == {"emoji", "fashion-mnist", "mnist"}


def test_other_classes_of_the_same_images_keep_the_classifier() -> None:
    finer = open_dataset(DataOptions(data="emoji", size=8, label_column="subcategory"))
    assert classifier_of(finer) is load_classifier("emoji")
    assert len(finer.spec.class_names) > len(load_classifier("emoji").class_names)


@pytest.mark.parametrize("name", ["mnist", "emoji"])
def test_built_in_data_are_still_those_of_their_classifier(name: str) -> None:
    """At any size: the fingerprint is of what is stored."""
    source = source_fingerprint(DataOptions(data=name, size=16))
    assert source == load_classifier(name).source_fingerprint == source_fingerprint(DataOptions(data=name))


def test_accuracies_of_an_uneven_set() -> None:
    """A network that always says class 0, on 6 of class 0, 3 of class 1 and 1 of class 2."""
    network = Classifier(channels=1, size=8, num_classes=3, width=4)
    torch.nn.init.zeros_(network.output.weight)
    network.output.bias.data = torch.tensor([1.0, 0, 0])
    split = Stripes(10)
    split.labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    found = training.accuracy(network, split)
    assert found == pytest.approx({"accuracy": 60, "balanced_accuracy": 100 / 3, "majority": 60})


@pytest.mark.parametrize(("name", "at_least"), [("emoji", 60.0), ("fashion-mnist", 91.0)])
def test_the_other_classifiers_hold_what_their_records_say(name: str, at_least: float) -> None:
    files = resources.files("ganforge.evaluation.features.classifiers")
    record = json.loads((files / f"{name}.json").read_text())
    assert record["test_accuracy_percent"] >= at_least
    assert record["test_accuracy_percent"] > record["test_majority_percent"]
    if name == "emoji":
        split = open_dataset(DataOptions(data=name)).splits["test"]
        images = to_float(split.read(torch.arange(len(split))))
        right = (load_classifier(name).classify(images).argmax(1) == split.labels).float().mean().item() * 100  # type: ignore[attr-defined]  # an equality of tensors
        # The record is of images resized by Pillow; here the judge resizes them itself.
        assert right == pytest.approx(record["test_accuracy_percent"], abs=2)


def test_user_mistakes_are_named(judge: ReferenceClassifier) -> None:
    with pytest.raises(UserError, match="did you mean mnist"):
        load_classifier("minst")
    with pytest.raises(UserError, match=r"\[n, 1, height, width\]"):
        judge.features(torch.zeros(2, 3, 28, 28))


def test_folding_changes_no_output() -> None:
    torch.manual_seed(0)
    options = {"channels": 2, "size": 10, "num_classes": 3, "width": 4, "feature_size": 5}
    network = Classifier(**options)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + 0.1)
    folded = Classifier(**options, folded=True)
    folded.load_state_dict(fold(network.state_dict()))
    images = torch.rand(6, 2, 10, 10)
    torch.testing.assert_close(folded.eval()(images), network.eval()(images), rtol=1e-5, atol=1e-5)


class Stripes:
    """Two easy classes of images: dark left halves and dark right halves."""

    def __init__(self, count: int) -> None:
        self.labels = torch.arange(count) % 2
        self.pixels = torch.full((count, 1, 8, 8), 200, dtype=torch.uint8)
        self.pixels[0::2, :, :, :4] = 20
        self.pixels[1::2, :, :, 4:] = 20

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Tensor) -> Tensor:
        return self.pixels[rows]


def test_the_training_command_writes_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DataSpec(channels=1, height=8, width=8, num_images=200, class_names=("left", "right"))
    splits = {"train": Stripes(200), "validation": Stripes(20), "test": Stripes(20)}
    monkeypatch.setattr(training, "open_dataset", lambda options: SimpleNamespace(spec=spec, splits=splits))
    monkeypatch.setattr(training, "source_fingerprint", lambda options: f"that of {options.data}")
    out = tmp_path / "stripes.safetensors"
    training.main(
        ["--data", "stripes", "--out", str(out), "--epochs", "3", "--batch-size", "20", "--width", "4"]
    )
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["test_accuracy_percent"] == record["test_balanced_accuracy_percent"] == 100
    assert record["test_majority_percent"] == 50
    assert record["source_fingerprint"] == "that of stripes"
    assert record["command"].startswith(
        "python -m ganforge.evaluation.features.classifiers.train --data stripes --out stripes."
    )
    network = Classifier(**record["architecture"], folded=True)
    network.load_state_dict(safetensors.torch.load_file(out))
    del splits["validation"]
    training.main(["--data", "stripes", "--out", str(out), "--epochs", "1", "--batch-size", "20"])
    assert "validation_accuracy_percent" not in json.loads(out.with_suffix(".json").read_text())
    unlabelled = SimpleNamespace(spec=spec.model_copy(update={"class_names": ()}), splits=splits)
    monkeypatch.setattr(training, "open_dataset", lambda options: unlabelled)
    with pytest.raises(UserError, match="labelled square images"):
        training.main(["--data", "stripes", "--out", str(out)])
