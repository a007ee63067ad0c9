"""Features, probes and outliers: known truths, real commands, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import mannwhitneyu

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.evaluation.downstream.features import features_of_run
from ganforge.evaluation.downstream.outliers import area_under_roc
from ganforge.evaluation.downstream.probe import probe
from ganforge.nn.losses import nats_of_any
from ganforge.nn.networks.dcgan import DCGANDiscriminator
from ganforge.runs.trained import load
from ganforge.text.embeddings import data_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on MNIST."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    ganforge.train("dcgan", "mnist", run=path, width=4, batch=8, steps=2, quiet=True, device="cpu")
    return path


def store(path: Path, count: int = 300, informative: bool = True) -> Path:
    """Features of three classes, which say the class plainly or not at all."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "validation", "test"):
        labels = random.permutation(np.arange(count) % 3)
        noise = random.normal(size=(count, 5)).astype(np.float32)
        noise[:, :3] += 20 * informative * np.eye(3, dtype=np.float32)[labels]
        arrays |= {f"{split}_features": noise, f"{split}_labels": labels}
    np.savez(path, allow_pickle=False, **arrays)
    return path


# Area under the ROC curve


def test_area_of_order_and_of_chance() -> None:
    low, high = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0])
    assert area_under_roc(low, high) == 1
    assert area_under_roc(high, low) == 0
    assert area_under_roc(low, low) == 0.5


def test_area_is_that_of_mann_and_whitney() -> None:
    """Integers, so that many are tied."""
    low, high = (torch.randint(0, 20, (n,), generator=torch.Generator().manual_seed(n)) for n in (70, 50))
    expected = mannwhitneyu(high.numpy(), low.numpy()).statistic / (70 * 50)
    assert area_under_roc(low.float(), high.float()) == pytest.approx(expected, abs=1e-12)


# Features


def test_features_of_the_paper() -> None:
    """Every layer pooled to 4x4: 28,672 numbers where widths add up to 1,792 (section 5.1)."""
    network = DCGANDiscriminator(channels=3, start=4, doublings=3, width=256, kernel_size=5).eval()
    images = torch.rand(2, 3, 32, 32)
    features = network.features(images)
    assert features.shape == (2, 28_672)
    # The last maps are 4x4 already, so the logit can be had of them.
    logits = network.head(features[:, -1024 * 16 :]).squeeze(1)
    torch.testing.assert_close(logits, network(images))


def test_commands(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "f.npz"
    assert main(["analyze", "features", str(run), "--out", str(out), "--count", "200"]) == 0
    assert "train_features: 200 images, 448 features" in capfd.readouterr().out
    with np.load(out) as stored:
        assert stored["test_features"].shape == (200, 448)
        assert stored["test_features"].dtype == np.float32
        assert stored["test_labels"].shape == (200,)
        assert list(stored["class_names"]) == list("0123456789")
        first = stored["train_features"][:3]
    trained = load(run)
    rows = torch.tensor([0, 250, 500])  # 200 of 50,000, evenly spaced
    images = torch.from_numpy(data_of(trained.run).splits["train"].read(rows).numpy())
    np.testing.assert_allclose(
        features_of_run(trained, images / 127.5 - 1).numpy(), first, rtol=1e-4, atol=1e-5
    )

    assert main(["analyze", "probe", str(out), "--labels", "50", "--draws", "2", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["num_labels"] == 50
    assert found["num_draws"] == 2
    assert 0 < found["error_percent"] < 90  # chance is 90

    assert main(["analyze", "features", "pixels", "--data", "mnist", "--count", "60", "--out", str(out)]) == 0
    assert "60 images, 784 features" in capfd.readouterr().out


def test_outliers_are_compared_in_the_shape_of_the_run(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "outliers", str(run), "--data", "emoji", "--count", "100", "--json"]) == 0
    (score,) = json.loads(capfd.readouterr().out)
    assert score["name"] == "auroc_discriminator"
    assert 0 <= score["value"] <= 1
    assert score["protocol"]["own"] == "mnist test, 100"
    assert score["protocol"]["other"] == "emoji test, 100"
    assert main(["analyze", "outliers", str(run), "--data", "mnist", "--count", "100", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["value"] == 0.5  # its own data against themselves


def test_other_data_need_the_classes_that_a_run_scores_by(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Emoji have ten classes, of which this run knows two; noise has none; the run's own are fine."""
    data, noise = halves(tmp_path / "data"), pure_noise(tmp_path / "noise")
    few = {"steps": 1, "batch": 4, "quiet": True, "device": "cpu"}
    ganforge.train("cgan", str(data), run=tmp_path / "run", **few)
    for other in ("emoji", str(noise)):
        assert main(["analyze", "outliers", str(tmp_path / "run"), "--data", other, "--count", "9"]) == 2
        error = capfd.readouterr().err
        assert f"labels of its 2 classes, which {other} lacks" in error
        assert error.count("\n") == 1
    assert main(["analyze", "outliers", str(tmp_path / "run"), "--data", str(data), "--count", "9"]) == 0


def test_a_few_images_of_a_folder_are_of_all_its_classes(tmp_path: Path) -> None:
    """Folders lie class by class; the first 20 of 60 would be of one."""
    folder, out = halves(tmp_path / "data"), tmp_path / "f.npz"
    assert (
        main(["analyze", "features", "pixels", "--data", str(folder), "--count", "20", "--out", str(out)])
        == 0
    )
    with np.load(out) as stored:
        assert np.bincount(stored["test_labels"]).tolist() == [10, 10]
        left = stored["test_features"].reshape(20, -1, 8, 8)[:, :, :, :4].mean((1, 2, 3))
        assert ((left < 0) == stored["test_labels"]).all()  # labels are those of the features


# Classes by p(x given y)


def pure_noise(folder: Path) -> Path:
    """Black and white noise, which is of none of the classes of `halves`."""
    folder.mkdir()
    for index in range(30):
        pixels = np.random.default_rng(index).integers(0, 2, (8, 8)) * 255
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def halves(folder: Path) -> Path:
    """Black and white images of two classes: the left half is mostly white, or the right one."""
    random = np.random.default_rng(0)
    for split, count in (("train", 300), ("test", 30)):
        for name, left in (("left", True), ("right", False)):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                white = random.random((8, 8)) < np.where((np.arange(8) < 4) == left, 0.9, 0.1)
                Image.fromarray((255 * white).astype(np.uint8)).save(folder / split / name / f"{index}.png")
    return folder


def test_classes_are_told_by_their_likelihoods_and_noise_is_rejected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    few = {"width": 8, "layers": 2, "levels": 2, "steps": 120, "learning_rate": 1e-2, "quiet": True}
    few["ema_half_life"] = 0
    ganforge.train("pixelcnn", str(halves(tmp_path / "data")), run=run, conditional=True, **few)
    noise = pure_noise(tmp_path / "noise")
    words = [
        "analyze",
        "classify",
        str(run),
        "--data",
        str(noise),
        "--reject",
        "10",
        "--json",
        "--count",
        "40",
    ]
    assert main(words) == 0
    found = {score["name"]: score["value"] for score in json.loads(capfd.readouterr().out)}
    assert found["error"] <= 5
    assert found["error_of_accepted"] <= 5
    assert found["rejected"] <= 30
    assert found["rejected_of_other"] >= 70


def test_a_likelihood_of_any_class_is_that_of_the_mixture() -> None:
    class_nats = torch.tensor([[3.0, 1.0, 2.0], [200.0, 300.0, 400.0]])
    expected = -torch.tensor([3.0, 1.0, 2.0]).neg().exp().mean().log()
    assert nats_of_any(class_nats)[0] == pytest.approx(float(expected), rel=1e-6)
    assert nats_of_any(class_nats)[1] == pytest.approx(200 + np.log(3), rel=1e-6)


# Probes


def test_a_probe_reads_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    plain = probe(store(tmp_path / "plain.npz"), num_labels=30, num_draws=3)
    assert plain.error_percent == 0
    assert (plain.num_labels, plain.num_draws, plain.num_features, plain.num_test) == (30, 3, 5, 300)
    nothing = probe(store(tmp_path / "nothing.npz", informative=False))
    assert 55 < nothing.error_percent < 78  # two thirds, by chance; five standard errors are 14
    assert nothing.num_labels == 300


def test_without_a_validation_split_a_fifth_is_held_out(tmp_path: Path) -> None:
    with np.load(store(tmp_path / "a.npz")) as stored:
        arrays = {name: stored[name] for name in stored.files if not name.startswith("validation")}
    # Class by class, as in folders: the last fifth would be one class, and that one would never be trained.
    order = arrays["train_labels"].argsort(kind="stable")
    arrays |= {name: arrays[name][order] for name in ("train_features", "train_labels")}
    np.savez(tmp_path / "b.npz", allow_pickle=False, **arrays)
    found = probe(tmp_path / "b.npz")
    assert found.num_labels == 240
    assert (found.error_percent, found.validation_error_percent) == (0, 0)


def test_draws_depend_on_the_seed_alone(tmp_path: Path) -> None:
    path = store(tmp_path / "a.npz", informative=False)
    one, same, other = (probe(path, 30, 2, seed).error_percent for seed in (1, 1, 2))
    assert one == same != other


def store_broken(folder: Path) -> None:
    """Files that are not what a probe needs, each for a reason of its own."""
    with np.load(folder / "f.npz") as stored:
        whole = {name: stored[name] for name in stored.files}
    labels, features = whole["train_labels"], whole["train_features"]
    broken = {
        "half": {name: array for name, array in whole.items() if name != "test_labels"},
        "no_labels": {name: array for name, array in whole.items() if name != "validation_labels"},
        "one": whole | {"train_labels": np.zeros_like(labels)},
        "short": whole | {"train_labels": labels[1:]},
        "nan": whole | {"train_features": np.where(features > 0, np.nan, features)},
    }
    for name, arrays in broken.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    (folder / "cut.npz").write_bytes((folder / "f.npz").read_bytes()[:-40])
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "array.npy", labels)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analyze", "probe", "f.npz", "--labels", "31"], "a multiple of the 3 classes"),
        (["analyze", "probe", "f.npz", "--labels", "3000"], "at most 300"),
        (["analyze", "probe", "f.npz", "--draws", "0"], "expected 1 or more"),
        (["analyze", "probe", "none.npz"], "cannot be read as features"),
        (["analyze", "probe", "half.npz"], "has no test_labels"),
        (["analyze", "probe", "no_labels.npz"], "has no validation_labels"),
        (["analyze", "probe", "cut.npz"], "cannot be read as features"),
        (["analyze", "probe", "empty.npz"], "cannot be read as features"),
        (["analyze", "probe", "array.npy"], "cannot be read as features"),
        (["analyze", "probe", "one.npz"], "of one class"),
        (["analyze", "probe", "short.npz"], "expected [count, n] and [count]"),
        (["analyze", "probe", "nan.npz"], "NaN or infinity"),
        (["analyze", "probe", "f.npz", "--labels", "30", "--seed", "-1"], "expected 0 or more"),
        (["analyze", "features", "RUN", "--out", "f.txt"], "ends in .npz"),
        (["analyze", "features", "pixels", "--out", "f.npz"], "add --data mnist"),
        (["analyze", "features", "RUN", "--out", "f.npz", "--count", "0"], "expected 1 or more"),
        (["analyze", "outliers", "RUN", "--data", "ring"], "2-D points"),
        (["analyze", "outliers", "RUN", "--data", "nowhere"], "nowhere"),
        (["analyze", "classify", "RUN"], "use a run of pixelcnn"),
        (["analyze", "classify", "RUN", "--reject", "100"], "between 0 and 100"),
        (["analyze", "classify", "RUN", "--count", "0"], "expected 1 or more"),
    ],
)
def test_mistakes(
    words: list[str],
    said: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "f.npz")
    store_broken(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_systems_without_features_say_so(tmp_path: Path) -> None:
    ganforge.train("gan", "ring", run=tmp_path / "r", batch=8, steps=1, quiet=True, device="cpu")
    trained = load(tmp_path / "r")
    with pytest.raises(UserError, match=r"gan gives no features: use a run of .*dcgan"):
        features_of_run(trained, torch.zeros(2, 2, 1, 1))
