"""A page that draws samples of a run, also as the app of a Space on the Hugging Face hub.

    pip install ganforge gradio
    python examples/gradio_demo.py runs/dcgan-mnist     # or hf:owner/name, or pretrained:NAME

In a Space this file is `app.py`, RUN the name of the exported model, and requirements.txt has `ganforge`.
"""

import argparse
import os
from typing import Any

import gradio

import ganforge
from ganforge.text.embeddings import describe

RUN = os.environ.get("RUN", "runs/dcgan-mnist")
MOST_SAMPLES = 64


def page(run: str) -> gradio.Interface:
    """Sliders for the samples of `run`, with a class or a prompt where it takes one."""
    trained = ganforge.load(run)
    system, classes = trained.system, trained.run.config.spec.class_names
    inputs: list[Any] = [
        gradio.Slider(1, MOST_SAMPLES, 16, step=1, label="samples"),
        gradio.Number(0, precision=0, minimum=0, label="seed"),
    ]
    if "embeddings" in system.needs:
        inputs.append(gradio.Textbox("red apple", label="prompt"))
    elif "labels" in system.conditions:
        inputs.append(gradio.Dropdown(list(classes), value=classes[0], label="class"))

    def draw(count: int, seed: int, wanted: str = "") -> list[Any]:
        given: dict[str, Any] = {}
        try:
            if "embeddings" in system.needs:
                given["given"] = describe(trained, [wanted] * count)
            elif wanted:
                given["labels"] = [wanted]
            return trained.sample(count, seed=seed, **given).pil()
        except ganforge.UserError as error:
            raise gradio.Error(str(error)) from error

    title = f"{trained.run.config.system}, {trained.run.config.data.data}"
    return gradio.Interface(draw, inputs, gradio.Gallery(label="samples", columns=8), title=title)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A page that draws samples of a run.")
    parser.add_argument("run", nargs="?", default=RUN)
    page(parser.parse_args().run).launch()
