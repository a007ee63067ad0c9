"""The endpoints, in this process: what they answer, in which formats, and what they refuse."""

import asyncio
import base64
import io
import json
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from command import files_of
from PIL import Image
from untrained import untrained

from ganforge.data.batch import to_uint8
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.generation.explore.vectors import save_vector
from ganforge.generation.sample import write_samples
from ganforge.generation.text_to_image import write_text_samples
from ganforge.runs.pretrained import packaged
from ganforge.runs.trained import load
from ganforge.server.app import create_app
from ganforge.server.guard import MOST_JSON_BYTES, MOST_UPLOAD_BYTES, State
from ganforge.server.models import Model, load_models
from ganforge.server.results import choose_form
from ganforge.server.telemetry import Telemetry

PRETRAINED = ("pretrained:gan-cls-emoji", "pretrained:pix2pix-edges2emoji", "pretrained:srgan-photos")
NAMES = ("dcgan", "cgan", "pixelcnn", "gan")
TOKEN = "secret"


@pytest.fixture(scope="module")
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture(scope="module")
def models(runs: Path, telemetry: Telemetry) -> dict[str, Model]:
    places = [*(runs / name for name in NAMES), *map(Path, PRETRAINED)]
    return load_models(places, "cpu", watch=telemetry.decoded)


@pytest.fixture
def state(telemetry: Telemetry) -> State:
    return State(8, telemetry)


class Client:
    """Requests to the application, each in an event loop of its own."""

    def __init__(
        self,
        models: dict[str, Model],
        state: State,
        token: str | None = TOKEN,
        hosts: Collection[str] = (),
    ) -> None:
        self._app = create_app(models, state, token, hosts)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self._headers | options.pop("headers", {})

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(send())

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["content" if isinstance(body, bytes) else "json"] = body
        return self.request("POST", f"/v1/models/{path}", **options)


@pytest.fixture
def client(models: dict[str, Model], state: State) -> Client:
    return Client(models, state)


def image_of(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def png(width: int = 28, height: int = 28, mode: str = "L") -> bytes:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (height, width, {"L": 1, "RGB": 3}[mode]), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def same_image(answer: httpx.Response, file: Path) -> bool:
    with Image.open(file) as expected:
        return np.array_equal(np.asarray(image_of(answer)), np.asarray(expected))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_what_the_command_line_writes(
    client: Client, runs: Path, tmp_path: Path, name: str
) -> None:
    for kind in (".png", ".webp", ".npz"):
        write_samples(load(runs / name, "cpu"), tmp_path / f"a{kind}", 5, seed=7)
    body = {"count": 5, "seed": 7}
    assert same_image(client.post(f"{name}/generate", body), tmp_path / "a.png")
    assert same_image(client.post(f"{name}/generate", body | {"format": "webp"}), tmp_path / "a.webp")
    answer = client.post(f"{name}/generate", body, headers={"Accept": "application/x-npz"})
    with np.load(io.BytesIO(answer.content)) as arrays, np.load(tmp_path / "a.npz") as expected:
        assert np.array_equal(arrays["images"], expected["images"])
        assert json.loads(str(arrays["about"]))["seed"] == "7"


def test_labels_and_codes_of_the_request(client: Client, runs: Path, tmp_path: Path) -> None:
    write_samples(load(runs / "cgan", "cpu"), tmp_path / "a.png", 4, seed=3, labels=["7", 2])
    body = {"count": 4, "seed": 3, "labels": ["7", 2]}
    assert same_image(client.post("cgan/generate", body), tmp_path / "a.png")
    assert client.post("cgan/generate", body | {"format": "json"}).json()["labels"] == [7, 2, 7, 2]


def test_a_prompt_gives_what_the_command_line_writes(client: Client, tmp_path: Path) -> None:
    texts = ["a red apple", "a cat"]
    write_text_samples(load(packaged("gan-cls-emoji"), "cpu"), tmp_path / "a.png", texts, 3, seed=7)
    body = {"texts": texts, "count": 3, "seed": 7}
    assert same_image(client.post("gan-cls-emoji/text", body), tmp_path / "a.png")


def test_another_text_encoder_is_refused_at_the_start(tmp_path: Path) -> None:
    untrained(tmp_path / "encoder", "text_encoder", embedding_size=5)
    trained = untrained(tmp_path / "run", "gan_cls")
    (tmp_path / "encoder").rename(tmp_path / "run" / "text_encoder")
    with pytest.raises(UserError, match="makes 5 numbers of a text, the run was trained on 12"):
        Model("run", trained, 64)


def test_json_has_images_or_numbers(client: Client) -> None:
    said = client.post(
        "dcgan/generate", {"count": 2, "seed": 1}, headers={"Accept": "application/json"}
    ).json()
    images = [Image.open(io.BytesIO(base64.b64decode(each))) for each in said["images"]]
    numbers = client.post("dcgan/generate", {"count": 2, "seed": 1, "format": "numbers"}).json()["images"]
    assert [image.size for image in images] == [(16, 16)] * 2
    assert np.array_equal(np.stack(images), np.array(numbers))
    assert said["about"]["seed"] == "1"
    points = client.post("gan/generate", {"count": 3, "seed": 1, "format": "numbers"}).json()["images"]
    assert np.array(points).shape == (3, 2)


def test_an_answer_says_its_seed_and_the_same_seed_gives_it_again(client: Client, tmp_path: Path) -> None:
    first, other = client.post("dcgan/generate", {}), client.post("dcgan/generate", {})
    seed = int(first.headers["X-Ganforge-Seed"])
    assert first.content != other.content
    (tmp_path / "a.png").write_bytes(first.content)
    about = read_provenance(tmp_path / "a.png")
    assert (about["seed"], about["run"], about["request"]) == (str(seed), "dcgan", "generate {}")
    again = client.post("dcgan/generate", {"seed": seed})
    assert np.array_equal(image_of(again), image_of(first))


def test_paths_and_sums(client: Client, runs: Path) -> None:
    trained = load(runs / "dcgan", "cpu")
    ends = torch.cat([trained.sample(1, seed=seed) for seed in (1, 2)])
    body = {"seeds": [1, 2], "frames": 5, "format": "numbers"}
    drawn = client.post("dcgan/interpolate", body).json()["images"]
    assert np.array_equal(np.array(drawn)[[0, -1]], to_uint8(ends).permute(0, 2, 3, 1).numpy())
    sums = client.post("dcgan/arithmetic", {"expression": "1,2 - 1,2 + 5", "format": "numbers", "noise": 0})
    fifth = to_uint8(trained.sample(1, seed=5)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.array(sums.json()["images"])[4:5], fifth)
    image_of(client.post("dcgan/arithmetic", {"expression": "1,2 - 4"}))
    between = {"seeds": [1], "texts": ["a red apple", "a cat"], "frames": 4}
    assert image_of(client.post("gan-cls-emoji/interpolate", between)).size == (4 * 66 - 2, 64)
    animation = image_of(client.post("gan-cls-emoji/interpolate", between | {"format": "webp"}))
    assert getattr(animation, "n_frames", 1) == 6  # forth and back


def test_numbers_are_exact(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds of 64 bits; and 16 bits, where the data have 16, of every endpoint that draws."""
    monkeypatch.setattr("ganforge.generation.sample.stored_levels", lambda trained: (0, 4095))
    seeds = [1, 2**64 - 1]
    body = {"seeds": seeds, "frames": 3, "format": "npz"}
    with np.load(io.BytesIO(client.post("dcgan/interpolate", body).content)) as arrays:
        assert arrays["seeds"].tolist() == seeds
        assert arrays["images"].dtype == np.uint16
        assert arrays["images"].max() > 255
    said = client.post("dcgan/arithmetic", {"expression": "1 + 2", "format": "numbers"}).json()["images"]
    assert np.array(said).max() > 255


def test_images_of_clients(client: Client, runs: Path) -> None:
    """Projected, completed, translated and enlarged."""
    digit = png()
    query = {"steps": 3, "format": "json", "seed": 1}
    said = client.post("dcgan/project", digit, params=query).json()
    latents = torch.tensor(said["latents"])[None]
    assert said["error"] > 0
    made = Image.open(io.BytesIO(base64.b64decode(said["images"][1])))
    assert np.array_equal(
        made, to_uint8(load(runs / "dcgan", "cpu").decode(latents))[0].permute(1, 2, 0).numpy()
    )
    said = client.post(
        "pixelcnn/complete", digit, params={"rows": 5, "count": 2, "seed": 1, "label": 3}
    ).content
    assert np.asarray(Image.open(io.BytesIO(said))).shape == (56, 2 * 56 + 2)
    assert image_of(client.post("pix2pix-edges2emoji/apply", png(40, 30))).size == (64, 48)
    assert image_of(client.post("srgan-photos/apply", png(20, 30, "RGB"))).size == (80, 120)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("dcgan/generate", {"count": 0}, 422, "count: Input should be greater than or equal to 1"),
        ("dcgan/generate", {"cuont": 1}, 422, "cuont: Extra inputs are not permitted"),
        ("dcgan/generate", {"seed": 2**64}, 422, "seed: "),
        ("dcgan/generate", {"labels": [3]}, 422, "dcgan takes no labels"),
        ("dcgan/generate", {"truncation": 0}, 422, "truncation: "),
        ("dcgan/generate", {"codes": {"0": 1}}, 422, "dcgan has no codes"),
        ("dcgan/generate", [1], 422, "the body: "),
        ("cgan/generate", {"labels": ["cat"]}, 422, "no class 'cat'"),
        ("pixelcnn/generate", {"truncation": 1}, 422, "pixelcnn has no latents"),
        ("gan-cls-emoji/text", {"texts": [" "]}, 422, "a prompt is empty"),
        ("gan-cls-emoji/text", {"texts": ["a"] * 16, "count": 250}, 422, "4000 images"),
        ("gan-cls-emoji/interpolate", {"seeds": [1, 2]}, 422, "add a text"),
        ("dcgan/interpolate", {"seeds": [1]}, 422, "a path needs two seeds"),
        ("dcgan/interpolate", {"seeds": [1, 2], "texts": ["a"]}, 422, "dcgan takes no text"),
        ("dcgan/arithmetic", {"expression": "1 +"}, 422, "expected seeds"),
        ("dcgan/arithmetic", {"expression": "0-9999"}, 422, "10000 images or seeds"),
        ("dcgan/arithmetic", {"expression": "1 + smile"}, 422, "no vector smile"),
        ("dcgan/arithmetic", {"expression": "../../a.safetensors"}, 422, "no name of a vector"),
        ("dcgan/arithmetic", {"expression": "/etc/a.safetensors"}, 422, "no name of a vector"),
        ("dcgan/project", b"", 422, "no image"),
        ("dcgan/project", b"GIF89a", 422, "the image cannot be used"),
        ("dcgan/project", b"<svg onload='alert(1)'/>", 422, "the image cannot be used"),
        ("dcgan/project?steps=-1", b"x", 422, "steps: "),
        ("dcgan/project?images=/etc/passwd", b"x", 422, "images: Extra inputs"),
        ("pixelcnn/complete?rows=28", png(), 422, "rows 28: expected 1 to 27"),
        ("dcgan/apply", png(), 404, "pix2pix-edges2emoji, srgan-photos"),
        ("dcgan/sing", {}, 404, "Not Found"),
        ("../../etc/passwd", {}, 404, "Not Found"),
        ("%2e%2e/generate", {}, 404, "no model"),
        ("dcgan%00/generate", {}, 404, "no model"),
        ("dcgan/generate", b"{", 400, "the body: Invalid JSON"),
        ("dcgan/generate", b"[" * 60_000, 400, "the body: Invalid JSON"),
        ("dcgan/generate", b'{"count": NaN}', 422, "count: "),
        ("dcgan/generate", b"\xff\xfe", 400, "the body: Invalid JSON"),
        ("dcgan/generate", b" " * (MOST_JSON_BYTES + 1), 413, "at most 65,536 bytes"),
        ("dcgan/project", b" " * (MOST_UPLOAD_BYTES + 1), 413, "at most 8,388,608 bytes"),
    ],
)
def test_mistakes_of_clients(client: Client, path: str, body: Any, status: int, message: str) -> None:
    answer = client.post(path, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


def test_an_error_does_not_tell_where_the_run_is(client: Client, runs: Path) -> None:
    """Of a vector that belongs to another model, whose file the command line names."""
    trained = load(runs / "dcgan", "cpu")
    file = save_vector(trained, "smile", torch.zeros(3), {})
    answer = client.post("dcgan/arithmetic", {"expression": "1 + smile"})
    file.unlink()
    file.parent.rmdir()
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("dcgan/vectors/smile.safetensors belongs to another model")


def test_images_of_too_many_pixels_are_not_decoded(client: Client) -> None:
    """A PNG of a few bytes that says that it is large, and an image for one that is enlarged."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0))
    forged = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    answer = client.post("dcgan/project", forged)
    assert (answer.status_code, "9000x9000 pixels" in answer.json()["error"]) == (422, True)
    answer = client.post("srgan-photos/apply", png(1_100, 1_000))
    assert "expected at most 1 million" in answer.json()["error"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/webp", "webp"),
        ("image/avif,image/webp;q=0.9,*/*;q=0.1", "webp"),
        ("application/json;q=0.5, image/png;q=x, application/x-npz;q=0.6", "npz"),
        ("text/html, application/json;q=0", None),
    ],
)
def test_formats_by_accept(client: Client, accept: str, form: str | None) -> None:
    assert choose_form(accept) == form
    if form is None:
        answer = client.post("dcgan/generate", {}, headers={"Accept": accept})
        assert answer.status_code == 406


def test_only_the_token_opens(client: Client) -> None:
    for headers in (
        {"Authorization": "Bearer wrong"},
        {"Authorization": ""},
        {"Authorization": b"secret\xe9"},
    ):
        for method, path in (
            ("GET", "/v1/models"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("GET", "/x"),
        ):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client.post("dcgan/generate", {}, headers=headers).status_code == 401
        assert client.request("GET", "/health/live", headers=headers).json() == {"status": "live"}


def test_hosts_and_pages_of_others(client: Client, models: dict[str, Model], state: State) -> None:
    """DNS rebinding: an attacker's name for this machine; without a token, pages of other sites too."""
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "localhost.evil"):
        assert client.request("GET", "/health/live", headers={"Host": host}).status_code == 421
    for host in ("localhost:8000", "127.0.0.1", "192.168.1.7:80", "[::1]:8000", "LOCALHOST"):
        assert client.request("GET", "/v1/models", headers={"Host": host}).status_code == 200
    allowing = Client(models, state, hosts=("0.0.0.0", "ganforge", "GANs.example.org"))
    hosts = {"ganforge:8000": 200, "gans.example.org": 200, "example.org": 421, "a.gans.example.org": 421}
    for host, status in hosts.items():
        assert allowing.request("GET", "/v1/models", headers={"Host": host}).status_code == status
    unlocked = Client(models, state, None)
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://localhost", 200)):
        answer = unlocked.post("dcgan/generate", {}, headers={"Origin": origin})
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers


def test_a_full_queue_and_a_draining_server_refuse(client: Client, state: State) -> None:
    for _ in range(8):
        state.enter("dcgan")
    state.mean_seconds = {"dcgan": 1.6, "cgan": 50.0}
    answer = client.post("dcgan/generate", {})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "13"), "by what this model needs"
    assert client.post("cgan/generate", {}).status_code == 200, "another model has a queue of its own"
    for _ in range(8):
        state.leave("dcgan", 0.1)
    assert client.post("dcgan/generate", {}).status_code == 200
    assert state.in_progress == {"dcgan": 0, "cgan": 0}
    state.draining = True
    answer = client.post("dcgan/generate", {})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    ready = client.request("GET", "/health/ready")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "5")
    assert client.request("GET", "/health/live").status_code == 200


def test_a_shortage_of_memory_is_said(
    client: Client, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(keys: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models["dcgan"], "decode", short)
    answer = client.post("dcgan/generate", {})
    assert (answer.status_code, "out of memory" in answer.json()["error"]) == (503, True)


def test_what_models_can_is_listed_and_in_the_schema(client: Client) -> None:
    listed = {each["name"]: each for each in client.request("GET", "/v1/models").json()["models"]}
    assert {name: each["can"] for name, each in listed.items()} == {
        "dcgan": ["generate", "interpolate", "arithmetic", "project"],
        "cgan": ["generate", "interpolate", "arithmetic", "project"],
        "pixelcnn": ["generate", "complete"],
        "gan": ["generate"],
        "gan-cls-emoji": ["text", "interpolate", "arithmetic", "project"],
        "pix2pix-edges2emoji": ["apply"],
        "srgan-photos": ["apply"],
    }
    assert listed["cgan"]["classes"] == [str(number) for number in range(10)]
    schema = client.request("GET", "/openapi.json").json()
    for name, each in listed.items():
        for endpoint in each["can"]:
            operation = schema["paths"][f"/v1/models/{{name}}/{endpoint}"]["post"]
            assert name in operation["parameters"][0]["schema"]["enum"]
    generate = schema["paths"]["/v1/models/{name}/generate"]["post"]
    count = generate["requestBody"]["content"]["application/json"]["schema"]["properties"]["count"]
    assert (count["minimum"], count["maximum"]) == (1, 250)
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


def test_metrics(client: Client) -> None:
    def value(line: str) -> float:
        lines = client.request("GET", "/metrics").text.splitlines()
        return next((float(each.split()[-1]) for each in lines if each.startswith(f"{line} ")), 0.0)

    names = [
        'ganforge_requests_total{endpoint="generate",status="200"}',
        'ganforge_images_total{model="dcgan"}',
        'ganforge_batch_requests_count{model="dcgan"}',
    ]
    before = [value(name) for name in names]
    client.post("dcgan/generate", {"count": 3})
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [1, 3, 1]
    assert value('ganforge_in_progress{model="dcgan"}') == 0


def test_nothing_is_written(client: Client, runs: Path) -> None:
    before = files_of(runs)
    client.post("dcgan/arithmetic", {"expression": "1,2 - 3"})
    client.post("dcgan/project", png(), params={"steps": 1})
    assert files_of(runs) == before


@pytest.fixture
def waiting(models: dict[str, Model]) -> Iterator[list[Any]]:
    """Requests that wait behind one that takes a while."""
    import threading

    go = threading.Event()
    models["dcgan"].worker.submit(lambda: go.wait(20), False)
    yield list(models["dcgan"].worker._waiting)
    go.set()


def test_a_client_that_leaves_frees_its_place(
    models: dict[str, Model], state: State, waiting: list[Any]
) -> None:
    app = create_app(models, state, None)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/models/dcgan/generate",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }

    async def go() -> None:
        left, given = asyncio.Event(), False

        async def receive() -> dict[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": b"{}", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            assert message.get("status", 499) == 499

        task = asyncio.create_task(app(scope, receive, send))
        while not state.in_progress.get("dcgan"):
            await asyncio.sleep(0.01)
        while not models["dcgan"].worker._waiting:
            await asyncio.sleep(0.01)
        left.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(go())
    assert state.in_progress["dcgan"] == 0
    assert not models["dcgan"].worker._waiting
