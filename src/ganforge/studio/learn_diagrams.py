"""How the parts of each system hang together, as data: boxes on a grid, and arrows between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["noise", "data", "condition", "generator", "sample", "discriminator", "network", "loss"]
FLOW, UPDATE = "flow", "update"
"""What a step computes, and which network a loss changes."""


@dataclass(frozen=True)
class Box:
    """A part: what it is called, a second short line, and its place; `step` along the way, `lane` across."""

    kind: Kind
    name: str
    note: str
    step: float
    lane: float


@dataclass
class Diagram:
    """Boxes by a short name, and arrows (from, to, FLOW or UPDATE)."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, key: str, kind: Kind, name: str, note: str, step: float, lane: float) -> None:
        """Add a box."""
        self.boxes[key] = Box(kind, name, note, step, lane)

    def flow(self, *keys: str) -> None:
        """Arrows along a chain of boxes."""
        self.arrows += [(a, b, FLOW) for a, b in pairwise(keys)]

    def update(self, loss: str, *networks: str) -> None:
        """Arrows from a loss to the networks that it changes."""
        self.arrows += [(loss, network, UPDATE) for network in networks]

    def description(self) -> str:
        """The same in words, for who does not see it."""
        lines = list[str]()
        for key, box in self.boxes.items():
            targets = [self.boxes[b].name for a, b, kind in self.arrows if a == key and kind == FLOW]
            changed = [self.boxes[b].name for a, b, kind in self.arrows if a == key and kind == UPDATE]
            about = f"{box.name} ({box.note})" if box.note else box.name
            if targets:
                lines.append(f"{about} leads to {' and to '.join(targets)}.")
            if changed:
                lines.append(f"{about} updates {' and '.join(changed)}.")
        return " ".join(lines)

    def as_json(self) -> dict[str, Any]:
        """What the page draws."""
        return {
            "boxes": {key: vars(box) for key, box in self.boxes.items()},
            "arrows": [list(arrow) for arrow in self.arrows],
            "description": self.description(),
        }


def adversarial(
    loss_d: str,
    loss_g: str,
    generator: str = "from noise to a sample",
    discriminator: str = "real or generated?",
    name: str = "Discriminator D",
    middle: float = 0.5,
) -> Diagram:
    """Noise, two networks against each other, a loss for each; `middle`: the lane of the discriminator."""
    diagram = Diagram()
    diagram.add("noise", "noise", "Noise z", "drawn at random", 0, 0)
    diagram.add("generator", "generator", "Generator G", generator, 1, 0)
    diagram.add("sample", "sample", "Sample G(z)", "", 2, 0)
    diagram.add("data", "data", "Training data x", "", 2, 2 * middle)
    diagram.add("discriminator", "discriminator", name, discriminator, 3, middle)
    diagram.add("loss_g", "loss", "Loss of G", loss_g, 4, middle - 0.5)
    diagram.add("loss_d", "loss", f"Loss of {name[-1]}", loss_d, 4, middle + 0.5)
    diagram.flow("noise", "generator", "sample", "discriminator", "loss_g")
    diagram.flow("data", "discriminator", "loss_d")
    diagram.update("loss_g", "generator")
    diagram.update("loss_d", "discriminator")
    return diagram


def fastgan() -> Diagram:
    """A discriminator that also reconstructs."""
    diagram = adversarial("hinge", "−E s(G(z))", "with skip-layer excitation")
    diagram.add("decoder", "network", "Decoders", "of D's maps of x", 3, 1.5)
    diagram.add("reconstruction", "loss", "Second loss", "|decoded − x|", 4, 2)
    diagram.flow("discriminator", "decoder", "reconstruction")
    diagram.update("reconstruction", "decoder")
    return diagram


def cgan() -> Diagram:
    """Both networks see the label."""
    diagram = adversarial(
        "cross-entropy", "−log D(G(z|y)|y)", discriminator="real, given the label?", middle=1
    )
    diagram.add("label", "condition", "Label y", "of the real image", 0, 1)
    diagram.flow("label", "generator")
    diagram.flow("label", "discriminator")
    return diagram


def acgan() -> Diagram:
    """The discriminator predicts the class."""
    diagram = adversarial("cross-entropy", "−log D(G(z, c))", discriminator="real? which class?", middle=1)
    diagram.add("label", "condition", "Class c", "", 0, 1)
    diagram.add("loss_g", "loss", "Loss of G", "−log D(G(z, c))", 4, 0)
    diagram.add("loss_d", "loss", "Loss of D", "cross-entropy", 4, 1)
    diagram.add("class", "loss", "Class loss", "cross-entropy of c", 4, 2)
    diagram.flow("label", "generator")
    diagram.flow("discriminator", "class")
    diagram.update("class", "discriminator")
    return diagram


def infogan() -> Diagram:
    """A recogniser predicts the codes from the sample."""
    diagram = adversarial("cross-entropy", "−log D(G(z, c))")
    diagram.add("code", "condition", "Codes c", "categories, numbers", 0, 1)
    diagram.add("recogniser", "network", "Recogniser Q", "shares D's layers", 3, 1.5)
    diagram.add("information", "loss", "Information", "−E log Q(c | G(z, c))", 4, 2)
    diagram.flow("code", "generator")
    diagram.flow("discriminator", "recogniser", "information")
    diagram.update("information", "recogniser")
    return diagram


def gan_cls() -> Diagram:
    """Captions condition both networks; mismatched ones count as fake."""
    diagram = adversarial(
        "real and matching?", "−log D(G(z, h), h)", discriminator="real? fits the caption?", middle=1
    )
    diagram.add("caption", "condition", "Caption", "“a red apple”", 0, 1)
    diagram.add("encoder", "network", "Text encoder", "embedding h", 1, 1)
    diagram.add("data", "data", "Image x", "real", 2, 2)
    diagram.add("wrong", "condition", "Other caption w", "mismatched", 3, 2)
    diagram.flow("caption", "encoder", "generator")
    diagram.flow("encoder", "discriminator")
    diagram.flow("wrong", "discriminator")
    return diagram


def stackgan() -> Diagram:
    """Two generators, one after the other."""
    diagram = Diagram()
    diagram.add("noise", "noise", "Noise z", "", 0, 0)
    diagram.add("caption", "condition", "Caption", "embedding h", 0, 1)
    diagram.add("augmented", "condition", "c = μ(h) + σ(h) ε", "drawn around h", 1, 1)
    diagram.add("first", "generator", "Stage 1", "a small sketch", 2, 0)
    diagram.add("second", "generator", "Stage 2", "4 times the size", 3, 0)
    diagram.add("data", "data", "Image x", "with its caption", 3, 1)
    diagram.add("discriminator", "discriminator", "Discriminators", "one of each stage", 4, 0.5)
    diagram.add("loss_g", "loss", "Loss of G", "−log D + λ KL", 5, 0)
    diagram.add("loss_d", "loss", "Loss of D", "real and matching?", 5, 1)
    diagram.flow("noise", "first", "second", "discriminator", "loss_g")
    diagram.flow("caption", "augmented", "first")
    diagram.flow("augmented", "second")
    diagram.flow("data", "discriminator", "loss_d")
    diagram.update("loss_g", "second")
    diagram.update("loss_d", "discriminator")
    return diagram


def text_encoder() -> Diagram:
    """Images and captions meet in one space."""
    diagram = Diagram()
    diagram.add("image", "data", "Images", "of a batch", 0, 0)
    diagram.add("caption", "condition", "Captions", "one of each image", 0, 1)
    diagram.add("images", "network", "Image encoder", "convolutions", 1, 0)
    diagram.add("captions", "network", "Text encoder", "characters or words", 1, 1)
    diagram.add("products", "sample", "Inner products", "of every pair", 2, 0.5)
    diagram.add("loss", "loss", "Loss", "own pairs above others", 3, 0.5)
    diagram.flow("image", "images", "products", "loss")
    diagram.flow("caption", "captions", "products")
    diagram.update("loss", "images", "captions")
    return diagram


def pix2pix() -> Diagram:
    """Translation: the discriminator sees source and target."""
    diagram = Diagram()
    diagram.add("source", "condition", "Source x", "edges, say", 0, 0.5)
    diagram.add("generator", "generator", "Generator G", "U-Net with dropout", 1, 0)
    diagram.add("sample", "sample", "Translation G(x)", "", 2, 0)
    diagram.add("data", "data", "Target y", "the real image", 2, 1)
    diagram.add("discriminator", "discriminator", "Discriminator D", "patches: real, given x?", 3, 0)
    diagram.add("loss_g", "loss", "Loss of G", "−log D + λ |y − G(x)|", 4, 1)
    diagram.add("loss_d", "loss", "Loss of D", "cross-entropy", 4, 0)
    diagram.flow("source", "generator", "sample", "discriminator", "loss_d")
    diagram.flow("data", "discriminator", "loss_g")
    diagram.flow("data", "loss_g")
    diagram.update("loss_g", "generator")
    diagram.update("loss_d", "discriminator")
    return diagram


def srresnet() -> Diagram:
    """Super-resolution by a content loss."""
    diagram = Diagram()
    diagram.add("data", "data", "Image x", "a crop", 0, 1)
    diagram.add("source", "condition", "Small image s", "bicubic, 2 or 4 times", 1, 0)
    diagram.add("generator", "generator", "Generator G", "residual blocks", 2, 0)
    diagram.add("sample", "sample", "Enlarged G(s)", "", 3, 0)
    diagram.add("loss_g", "loss", "Content loss", "pixels or VGG maps", 4, 0.5)
    diagram.flow("data", "source", "generator", "sample", "loss_g")
    diagram.flow("data", "loss_g")
    diagram.update("loss_g", "generator")
    return diagram


def srgan() -> Diagram:
    """Super-resolution with a discriminator."""
    diagram = srresnet()
    diagram.add("loss_g", "loss", "Loss of G", "content − 10⁻³ log D", 5, 0)
    diagram.add("discriminator", "discriminator", "Discriminator D", "sharp as a photo?", 4, 1)
    diagram.add("loss_d", "loss", "Loss of D", "cross-entropy", 5, 1)
    diagram.arrows.remove(("data", "loss_g", FLOW))
    diagram.flow("data", "discriminator", "loss_d")
    diagram.flow("sample", "discriminator", "loss_g")
    diagram.update("loss_d", "discriminator")
    return diagram


def autoencoder() -> Diagram:
    """Reconstruction through a narrow code."""
    diagram = Diagram()
    diagram.add("data", "data", "Image x", "", 0, 0)
    diagram.add("encoder", "network", "Encoder", "", 1, 0)
    diagram.add("code", "noise", "Code", "a few numbers", 2, 0)
    diagram.add("decoder", "generator", "Decoder", "", 3, 0)
    diagram.add("sample", "sample", "Reconstruction", "", 4, 0)
    diagram.add("loss", "loss", "Loss", "how far from x?", 4, 1)
    diagram.flow("data", "encoder", "code", "decoder", "sample", "loss")
    diagram.flow("data", "loss")
    diagram.update("loss", "encoder", "decoder")
    return diagram


def vae() -> Diagram:
    """An encoder of distributions, and a prior."""
    diagram = Diagram()
    diagram.add("data", "data", "Image x", "", 0, 0)
    diagram.add("encoder", "network", "Encoder", "q(z | x): μ, σ", 1, 0)
    diagram.add("code", "noise", "Latent z", "μ + σ ε", 2, 0)
    diagram.add("decoder", "generator", "Decoder", "p(x | z)", 3, 0)
    diagram.add("divergence", "loss", "KL(q || p)", "near the prior N(0, I)", 2, 1)
    diagram.add("likelihood", "loss", "−log p(x | z)", "explains x", 4, 0)
    diagram.add("loss", "loss", "−ELBO", "their sum", 4, 1)
    diagram.flow("data", "encoder", "code", "decoder", "likelihood", "loss")
    diagram.flow("encoder", "divergence", "loss")
    diagram.update("loss", "encoder", "decoder")
    return diagram


def autoregressive(network: str, note: str) -> Diagram:
    """Each pixel from those before it."""
    diagram = Diagram()
    diagram.add("data", "data", "Image x", "in raster order", 0, 0.5)
    diagram.add("network", "generator", network, note, 1, 0.5)
    diagram.add("softmax", "sample", "Softmax", "over a pixel's levels", 2, 0.5)
    diagram.add("loss", "loss", "−log p(x)", "summed over pixels", 3, 0)
    diagram.add("pixel", "sample", "Next pixel", "drawn, when sampling", 3, 1)
    diagram.flow("data", "network", "softmax", "loss")
    diagram.flow("softmax", "pixel")
    diagram.update("loss", "network")
    return diagram


DIAGRAMS: dict[str, Callable[[], Diagram]] = {
    "gan": lambda: adversarial("cross-entropy", "−log D(G(z))"),
    "dcgan": lambda: adversarial(
        "cross-entropy", "−log D(G(z))", "transposed convolutions", "strided convolutions"
    ),
    "lsgan": lambda: adversarial("squared, to b and to a", "(D(G(z)) − c)²"),
    "wgan": lambda: adversarial(
        "E f(G(z)) − E f(x)", "−E f(G(z))", discriminator="weights are clipped", name="Critic f"
    ),
    "wgan_gp": lambda: adversarial(
        "… + λ (|∇f| − 1)²", "−E f(G(z))", discriminator="slope kept near 1", name="Critic f"
    ),
    "sngan": lambda: adversarial("hinge", "−E s(G(z))", discriminator="each weight W / σ(W)"),
    "r3gan": lambda: adversarial(
        "relativistic + R₁ + R₂", "relativistic", discriminator="pairs: which is real?"
    ),
    "fastgan": fastgan,
    "cgan": cgan,
    "acgan": acgan,
    "infogan": infogan,
    "text_encoder": text_encoder,
    "gan_cls": gan_cls,
    "stackgan": stackgan,
    "pix2pix": pix2pix,
    "srresnet": srresnet,
    "srgan": srgan,
    "autoencoder": autoencoder,
    "vae": vae,
    "pixelcnn": lambda: autoregressive("Masked convolutions", "see earlier pixels only"),
    "pixelrnn": lambda: autoregressive("LSTM layers", "rows or diagonals"),
}
