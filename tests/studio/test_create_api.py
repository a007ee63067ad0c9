"""What Create calls: models on demand, images of points, paths, recipes that make them again, uploads."""

import base64
import io
import json
import os
import shlex
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from studios import Studio, studio

import ganforge
from ganforge.cli.main import main
from ganforge.files.provenance import read_provenance
from ganforge.runs.trained import load
from ganforge.server.guard import Refused
from ganforge.studio.create_models import MOST_MODELS, Models
from ganforge.studio.workshop import Workshop

DIGITS, EMOJI, WORDS = "pretrained:digits-dcgan", "pretrained:emoji-dcgan", "pretrained:gan-cls-emoji"
CODES, CLASSES, DROPOUT = "pretrained:digits-infogan", "pretrained:digits-sngan", "pretrained:digits-cgan"
EDGES, PHOTOS = "pretrained:pix2pix-edges2emoji", "pretrained:srgan-photos"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, Any] = {"steps": 2, "quiet": True, "device": "cpu"}
    small: dict[str, Any] = {"width": 4, "layers": 1, "batch": 2, "conditional": True}
    ganforge.train("pixelcnn", "mnist", run=folder / "pixels", **small, **options)
    hidden: dict[str, Any] = {"generator_hidden": [8], "discriminator_hidden": [8], "batch": 4}
    ganforge.train("gan", "ring", run=folder / "rings", **hidden, **options)
    return folder


@pytest.fixture(scope="module")
def started(runs: Path) -> Iterator[Studio]:
    with studio(runs) as one:
        yield one


def post(started: Studio, place: str, body: Any = None, **options: Any) -> httpx.Response:
    return started.client.post(f"/api/create/{place}", json=body, **options)


def images_of(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    shape = [int(size) for size in response.headers["x-shape"].split(",")]
    return np.frombuffer(response.content, np.uint8).reshape(shape)


def images(started: Studio, name: str, *points: dict[str, Any], own: Any = None) -> NDArray[np.uint8]:
    return images_of(post(started, f"{name}/images", {"points": points, "own": own or {}}))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def open_image(content: bytes | Path) -> Image.Image:
    image = Image.open(io.BytesIO(content.read_bytes() if isinstance(content, Path) else content))
    image.load()
    return image


def drawing() -> bytes:
    image = Image.new("L", (128, 128), 255)
    ImageDraw.Draw(image).ellipse((20, 20, 108, 108), outline=0, width=4)
    return png(image)


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    message = response.json()["error"]
    assert "\n" not in message
    return str(message)


def test_gallery_has_what_came_with_the_package_and_own_runs_of_images(started: Studio) -> None:
    models = {each["name"]: each for each in started.client.get("/api/create").json()["models"]}
    assert len([each for each in models.values() if each["shipped"]]) == 10
    assert models["pixels"]["tools"] == ["complete"]
    assert "rings" not in models
    assert models[CODES]["codes"]
    assert models[DROPOUT]["classes"]
    assert models[EDGES]["tools"] == ["draw"]
    thumbnail = started.client.get(f"/api/create/{EMOJI}/thumbnail")
    assert open_image(thumbnail.content).size[0] > 100


def test_a_name_without_prefix_finds_what_came_with_the_package(started: Studio) -> None:
    about = started.client.get("/api/create/digits-infogan").json()
    assert about["place"] == CODES
    assert [code["prior"] for code in about["code_ranges"]] == ["categorical", "uniform", "uniform"]


def test_a_seed_is_the_sample_of_that_seed(started: Studio) -> None:
    (made,) = images(started, EMOJI, {"terms": {"7": 1}})
    expected = load(Path(EMOJI), "cpu").sample(1, seed=7).pil()[0]
    assert np.array_equal(made, np.asarray(expected))


def test_sliders_change_the_image_and_the_same_values_give_the_same_image(started: Studio) -> None:
    names = started.client.get(f"/api/create/{EMOJI}/directions").json()["directions"]
    assert names[0]["name"] == "sefa-0"
    assert names[0]["share"] > names[-1]["share"] > 0
    before = images(started, EMOJI, {"terms": {"7": 1}})
    moved = images(started, EMOJI, {"terms": {"7": 1, "sefa-0": 2.5, "z-3": -1}})
    assert np.abs(moved.astype(int) - before).mean() > 1
    assert np.array_equal(moved, images(started, EMOJI, {"terms": {"7": 1, "sefa-0": 2.5, "z-3": -1}}))


@pytest.mark.parametrize("method", ["pca", "z"])
def test_other_sliders(started: Studio, method: str) -> None:
    found = started.client.get(f"/api/create/{CODES}/directions", params={"method": method}).json()
    names = [each["name"] for each in found["directions"]]
    assert len(set(names)) == 12
    assert all(name.startswith(f"{method}-") for name in names)


def test_codes_classes_and_truncation_change_the_image(started: Studio) -> None:
    for name, change in ((CODES, {"codes": {0: 4}}), (CLASSES, {"label": 5}), (DIGITS, {"truncation": 0.3})):
        first, second = images(started, name, {"terms": {"7": 1}}, {"terms": {"7": 1}} | change)
        assert np.abs(first.astype(int) - second).mean() > 1, name


def test_prompts_blend_and_name_the_captions_that_are_near(started: Studio) -> None:
    point = {"terms": {"7": 1}, "texts": ["red apple", "blue heart"]}
    first, half, last = images(started, WORDS, *(point | {"share": share} for share in (0, 0.5, 1)))
    assert len({each.tobytes() for each in (first, half, last)}) == 3
    lines = post(started, f"{WORDS}/prompts", {"texts": ["red apple", "a xyzzy"]}).json()["lines"]
    assert lines[0] == '"red apple" is a training caption'
    assert "no training caption" in lines[1]


POINTS: list[tuple[str, list[dict[str, Any]]]] = [
    (EMOJI, [{"terms": {"7": 1}}]),
    (EMOJI, [{"terms": {"7": 1, "3": -0.5, "sefa-1": 1.25}, "truncation": 1.5}]),
    (DIGITS, [{"terms": {"1": 1}}, {"terms": {"2": 1}}]),
    (CODES, [{"terms": {"7": 1}, "codes": {"0": 4, "1": -0.5}}]),
    (CLASSES, [{"terms": {"7": 1}, "label": 3}]),
    (WORDS, [{"terms": {"7": 1}, "texts": ["red apple"]}]),
    (WORDS, [{"terms": {"7": 0.5}, "texts": ["red apple", "blue heart"], "share": 0.3}]),
]


@pytest.mark.parametrize(("name", "points"), POINTS)
def test_python_makes_the_same_images(
    started: Studio,
    name: str,
    points: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = post(started, f"{name}/recipe/images", {"points": points}).json()
    exec(compile(recipe["python"], "recipe", "exec"), {})
    for index, expected in enumerate(images(started, name, *points)):
        made = np.asarray(open_image(Path(f"image-{index}.png")))
        assert np.abs(made.reshape(expected.shape).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("name", "points"), [POINTS[0], POINTS[1], POINTS[2], POINTS[3], POINTS[5]])
def test_the_command_runs(
    started: Studio,
    name: str,
    points: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = post(started, f"{name}/recipe/images", {"points": points}).json()["command"]
    program, *words = shlex.split(command)
    assert program == "ganforge"
    assert main(words) == 0
    assert Path(words[-1]).is_file()


def test_the_arithmetic_command_has_the_image_in_its_centre(
    started: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    point = {"terms": {"7": 1, "sefa-0": 1.5, "z-12": -0.8}}
    command = post(started, f"{EMOJI}/recipe/images", {"points": [point]}).json()["command"]
    assert '"' not in command
    assert "'7 + 1.5*sefa-0 - 0.8*z-12'" in command
    assert main(shlex.split(command)[1:]) == 0
    (expected,) = images(started, EMOJI, point)
    pixels = np.asarray(open_image(Path("arithmetic.png")))
    corner = pixels.shape[0] - 3 * 64 - 2 * 2  # below the row of the exemplars
    centre = pixels[corner + 66 : corner + 130, 66:130]
    assert np.abs(centre.astype(int) - expected).max() <= 1


def test_a_download_says_how_it_was_made(started: Studio, tmp_path: Path) -> None:
    point = {"terms": {"7": 1, "sefa-0": 2.0}}
    file = tmp_path / "image.png"
    file.write_bytes(post(started, f"{EMOJI}/download?large=true", {"points": [point]}).content)
    about = read_provenance(file)
    assert open_image(file).size == (256, 256)
    assert json.loads(about["points"]) == [point]
    assert "7 + 2*sefa-0" in about["command"]
    assert about["run"] == "emoji-dcgan"
    assert about["step"] == "5000"
    assert len(about["latents"]) == 16


@pytest.mark.parametrize("form", ["gif", "webp", "mp4", "png"])
def test_paths_as_files(started: Studio, form: str, tmp_path: Path) -> None:
    if form == "mp4":
        pytest.importorskip("av", reason="needs av: pip install 'ganforge[video]'")
    body = {
        "points": [{"terms": {"1": 1}}, {"terms": {"2": 1}}],
        "frames": 6,
        "rate": 12,
        "closed": True,
        "form": form,
    }
    answer = post(started, f"{DIGITS}/path", body)
    assert answer.status_code == 200, answer.text
    file = tmp_path / f"path.{form}"
    file.write_bytes(answer.content)
    assert "--seeds 1,2" in read_provenance(file)["command"]
    if form in ("gif", "webp"):
        assert getattr(open_image(file), "n_frames", 1) == 6


def test_raw_paths_begin_and_end_with_their_images(started: Studio) -> None:
    points = [{"terms": {"1": 1}}, {"terms": {"2": 1, "sefa-0": 1}}]
    made = images_of(post(started, f"{DIGITS}/path", {"points": points, "frames": 5}))
    ends = images(started, DIGITS, *points)
    assert len(made) == 5
    assert np.abs(made[[0, -1]].astype(int) - ends).max() <= 1


def test_path_recipes(started: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    points = [{"terms": {str(seed): 1}, "label": seed} for seed in (1, 2)]
    recipe = post(started, f"{CLASSES}/recipe/path", {"points": points, "frames": 4, "form": "gif"}).json()
    assert main(shlex.split(recipe["command"])[1:]) == 0
    exec(compile(recipe["python"], "recipe", "exec"), {})
    one, other = (open_image(Path(name)) for name in ("interpolate.gif", "path.gif"))
    assert one.convert("L").tobytes() == other.convert("L").tobytes()


@pytest.mark.parametrize("name", [DIGITS, DROPOUT])
def test_project_and_go_on_from_there(
    started: Studio, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = images(started, name, {"terms": {"7": 1}})
    upload = png(Image.fromarray(source[..., 0]))
    found = started.client.post(f"/api/create/{name}/project?steps=5&restarts=1", content=upload).json()
    own = {"@1": found["latents"]}
    assert open_image(base64.b64decode(found["image"])).size == (28, 28)
    still, moved = images(started, name, {"terms": {"@1": 1}}, {"terms": {"@1": 1, "sefa-0": 1.5}}, own=own)
    assert np.square((still.astype(float) - source) / 127.5).mean() == pytest.approx(found["error"], abs=0.01)
    assert np.abs(moved.astype(int) - still).mean() > 0.5
    monkeypatch.chdir(tmp_path)
    points = {"points": [{"terms": {"@1": 1, "sefa-0": 1.5}}], "own": own}
    recipe = post(started, f"{name}/recipe/images", points).json()
    assert recipe["command"] == ""
    exec(compile(recipe["python"], "recipe", "exec"), {})
    assert np.abs(np.asarray(open_image(Path("image-0.png"))).astype(int) - moved[..., 0]).max() <= 1


def test_edges_are_translated_and_photos_enlarged(started: Studio) -> None:
    answer = started.client.post(f"/api/create/{EDGES}/apply", content=drawing())
    assert answer.status_code == 200
    assert open_image(answer.content).size == (64, 64)
    assert "resized" in json.loads(answer.headers["x-notes"])[0]
    photo = png(Image.effect_noise((24, 16), 60).convert("RGB"))
    answer = started.client.post(f"/api/create/{PHOTOS}/apply?size=own", content=photo)
    assert open_image(answer.content).size == (96, 64)
    recipe = post(started, f"{PHOTOS}/recipe/upload", {"kind": "apply", "file": "my photo.png"}).json()
    assert recipe["command"] == f"ganforge apply {PHOTOS} 'my photo.png' --out result.png"


def test_completions_arrive_row_by_row_and_python_makes_the_same(
    started: Studio, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = started.client.get("/api/create/pixels/example?seed=3")
    image = np.asarray(open_image(example.content))
    place = "/api/create/pixels/complete?rows=10&count=3&seed=5&label=2"
    with started.client.stream("POST", place, content=example.content) as answer:
        assert answer.headers["x-shape"] == "3,28,28,1"
        content = b"".join(answer.iter_bytes())
    made = np.frombuffer(content, np.uint8).reshape(28, 3, 28).swapaxes(0, 1)
    assert np.array_equal(made[0][:10], image[:10]), "the upper rows are kept"
    assert not np.array_equal(made[0][10:], made[1][10:]), "the others are sampled"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.png").write_bytes(example.content)
    upload = {"kind": "complete", "file": "image.png", "rows": 10, "count": 3, "seed": 5, "label": 2}
    recipe, names = post(started, "pixels/recipe/upload", upload).json(), dict[str, Any]()
    exec(compile(recipe["python"], "recipe", "exec"), names)
    again = (names["completions"].numpy() + 1) * 127.5
    assert np.abs(again[:, 0] - made).max() <= 1
    file = tmp_path / "strip.png"
    query = place.partition("?")[2]
    file.write_bytes(
        started.client.post(f"/api/create/pixels/complete/download?{query}", content=example.content).content
    )
    strip = np.asarray(open_image(file))
    assert np.array_equal(strip[:56:2, :56:2], made[0])
    assert '"rows":10' in read_provenance(file)["request"]


def test_one_line_for_bad_requests(started: Studio) -> None:
    one = {"terms": {"7": 1}}
    cases = [
        ("missing/images", {"points": [one]}, 404, "no model missing"),
        ("..%2Fx/images", {"points": [one]}, 404, ""),
        ("pretrained:nothing/images", {"points": [one]}, 404, "no model"),
        (f"{DIGITS}/images", {"points": []}, 422, "points"),
        (f"{DIGITS}/images", {"points": [one] * 65}, 422, "points"),
        (f"{DIGITS}/images", {"points": [{"terms": {"nothing": 1}}]}, 422, "no vector nothing"),
        (f"{DIGITS}/images", {"points": [{"terms": {"../x": 1}}]}, 422, "expected a seed"),
        (f"{DIGITS}/images", {"points": [{"terms": {"z-100": 1}}]}, 422, "expected z-0 to z-99"),
        (f"{DIGITS}/images", {"points": [{"terms": {"@1": 1}}]}, 422, "project it again"),
        (f"{DIGITS}/images", {"points": [{"terms": {"@1": 1}}], "own": {"@1": "AAAA"}}, 422, ""),
        (f"{DIGITS}/images", {"points": [one | {"label": 3}]}, 422, "takes no classes"),
        (f"{DIGITS}/images", {"points": [one | {"texts": ["a"]}]}, 422, "takes no text"),
        (f"{WORDS}/images", {"points": [one]}, 422, "type one"),
        (f"{CLASSES}/images", {"points": [one | {"label": 77}]}, 422, "no class"),
        (f"{CODES}/images", {"points": [one | {"codes": {"0": 99}}]}, 422, "expected a whole number"),
        (f"{DIGITS}/path", {"points": [one]}, 422, "two images"),
        (f"{EDGES}/images", {"points": [one]}, 422, "decodes no latents"),
        ("rings/images", {"points": [one]}, 422, "2-D points"),
    ]
    for place, body, status, said in cases:
        assert said in problem(post(started, place, body), status), place


def test_one_line_for_bad_uploads(started: Studio) -> None:
    cases = [
        (f"{EDGES}/apply", b"", 422, "no image"),
        (f"{EDGES}/apply", b"not an image", 422, "cannot be used"),
        (f"{EDGES}/apply", drawing()[:200], 422, "cannot be used"),
        (f"{PHOTOS}/apply?size=own", png(Image.new("L", (2048, 1024))), 422, "make it smaller"),
        (f"{PHOTOS}/apply?size=own", bytes(9 * 2**20), 413, "too large"),
        (f"{DIGITS}/apply", drawing(), 422, "translates or enlarges no images"),
        (f"{EDGES}/project", drawing(), 422, "decodes no latents"),
        (f"{DIGITS}/complete", drawing(), 422, "completes no images"),
        ("pixels/complete?rows=28", drawing(), 422, "expected 1 to 27"),
    ]
    for place, body, status, said in cases:
        try:
            answer = started.client.post(f"/api/create/{place}", content=body)
        except httpx.TransportError:  # a body that is refused unread
            continue
        assert said in problem(answer, status), place


def test_a_model_that_vanished(started: Studio, runs: Path) -> None:
    shutil.copytree(runs / "pixels", runs / "short-lived")
    assert started.client.get("/api/create/short-lived").status_code == 200
    shutil.rmtree(runs / "short-lived")
    answer = started.client.post("/api/create/short-lived/complete?count=1", content=drawing())
    assert "no model short-lived" in problem(answer, 404)


def test_few_models_are_kept_and_their_threads_end(tmp_path: Path) -> None:
    models = Models(Workshop(tmp_path, "cpu"))
    names = [DIGITS, CODES, "pretrained:digits-vae", CLASSES, DROPOUT]

    def threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("model digits")]

    first = models.get(names[0])
    assert models.get(names[0]) is first
    for name in names[1:]:
        models.get(name)
    for thread in threads():
        thread.join(0.5)
    assert len(threads()) == MOST_MODELS
    assert models.get(names[0]) is not first
    with pytest.raises(Refused, match="made room for other models: try again"):
        first.work(list)


def test_a_run_is_read_again_once_it_was_trained(tmp_path: Path, runs: Path) -> None:
    shutil.copytree(runs / "pixels", tmp_path / "again")
    models = Models(Workshop(tmp_path, "cpu"))
    first = models.get("again", newest=True)
    assert models.get("again", newest=True) is first
    os.utime(tmp_path / "again" / "checkpoints", (1, 1))
    assert models.get("again") is first, "not in the middle of a slider's movement"
    assert models.get("again", newest=True) is not first
