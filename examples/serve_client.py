"""Ask a running server for samples: what its first model can do, and a grid of reproducible samples.

    ganforge serve pretrained:gan-cls-emoji --token secret
    GANFORGE_TOKEN=secret python examples/serve_client.py http://127.0.0.1:8000 --out samples.png

Needs no other library; a server that is busy (429) says when to ask again.
"""

import argparse
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TRIES = 5


def ask(address: str, body: dict[str, Any] | None = None) -> bytes:
    """The answer; a server that is busy gets the request again when it says."""
    token = os.environ.get("GANFORGE_TOKEN", "")  # none for a server with --no-token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    for tries_left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise SystemExit(f"{error.code}: {error.read().decode()}") from error
            if tries_left:
                time.sleep(int(error.headers["Retry-After"]))
        except (OSError, ValueError) as error:  # nothing answers there, or it is no address
            raise SystemExit(
                f"{address}: {error}: start `ganforge serve` there, or name its address"
            ) from error
    raise SystemExit(f"{address} is busy: try later")


def main() -> None:
    """Ask for what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--text", default="a red apple")
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    chosen = parser.parse_args()
    model = json.loads(ask(f"{chosen.address}/v1/models"))["models"][0]
    print(f"{model['name']} can {', '.join(model['can'])}")
    body: dict[str, Any] = {"count": chosen.count, "seed": chosen.seed}
    endpoint = "generate"
    if "text" in model["can"]:
        endpoint, body["texts"] = "text", [chosen.text]
    chosen.out.write_bytes(ask(f"{chosen.address}/v1/models/{model['name']}/{endpoint}", body))
    print(chosen.out)


if __name__ == "__main__":
    main()
