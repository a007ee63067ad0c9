"""The generator of PyTorch's DCGAN tutorial and of `dcgan` in pytorch/examples: `netG_epoch_N.pth`."""

from torch import Tensor

from ganforge.runs.imported.weights import Foreign, ForeignWeights

SIDE, START, DOUBLINGS = 64, 4, 4
STRIDE = 3
"""Modules of its `nn.Sequential` from one transposed convolution to the next: norm and ReLU follow each."""


def read_generator(weights: ForeignWeights) -> Foreign:
    """The generator as one of `dcgan` with kernel 4, which computes the same.

    Its first transposed convolution, of 1x1 latents, is a dense layer; its last has no bias, ours has 0.
    """
    last = f"main.{STRIDE * DOUBLINGS}.weight"
    channels = weights.colours(last, 1, "ngf", "nc", 4, 4)
    output = weights.take(last, "ngf", channels, 4, 4)
    width = len(output)
    coarsest = width * 2 ** (DOUBLINGS - 1)
    dense = weights.take("main.0.weight", "nz", coarsest, START, START)
    own: dict[str, Tensor] = {"generator.dense.weight": dense.flatten(1).T.contiguous()}
    own |= _named("generator.dense_norm", weights.batch_norm("main.1", coarsest))
    for index in range(DOUBLINGS - 1):
        inputs, theirs = coarsest // 2**index, STRIDE * (index + 1)
        ours = f"generator.layers.{STRIDE * index}"
        own[f"{ours}.weight"] = weights.take(f"main.{theirs}.weight", inputs, inputs // 2, 4, 4)
        norm = weights.batch_norm(f"main.{theirs + 1}", inputs // 2)
        own |= _named(f"generator.layers.{STRIDE * index + 1}", norm)
    ours = f"generator.layers.{STRIDE * (DOUBLINGS - 1)}"
    own |= {f"{ours}.weight": output, f"{ours}.bias": output.new_zeros(channels)}
    weights.check_all_taken()
    config = {
        "kernel_size": 4,
        "width": width,
        "latent_size": len(dense),
        "latent_distribution": "gaussian",
    }
    return Foreign("dcgan", config, (channels, SIDE, SIDE), own)


def _named(name: str, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{part}": tensor for part, tensor in parts.items()}
