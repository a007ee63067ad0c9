"""Draw samples of an exported network with onnxruntime alone: no torch, no ganforge.

    ganforge export onnx pretrained:digits-dcgan digits
    python examples/onnx_sample.py digits --count 16

needs numpy, onnxruntime and Pillow, and is for networks whose only input is latents. The folder has a
`sample.py` of its own, which does the same for those with labels, prompts and sources.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--count", type=int, default=16)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("samples.png"))
arguments = parser.parse_args()

session = onnxruntime.InferenceSession(arguments.folder / "model.onnx")
(latents,) = session.get_inputs()
drawn = np.random.default_rng(arguments.seed).standard_normal((arguments.count, latents.shape[1]))
(images,) = session.run(None, {latents.name: drawn.astype(np.float32)})

levels = ((images + 1) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
row = np.concatenate(list(levels), axis=1)
Image.fromarray(row.squeeze(2) if row.shape[2] == 1 else row).save(arguments.out)
print(f"{arguments.out}: {arguments.count} samples")
