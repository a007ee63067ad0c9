"""The plain PyTorch DCGAN tutorial loop, the baseline of `dcgan_speed.py`: fp32, eager, written naively.

Networks, initialisation, losses and the order of the steps are those of the widely copied tutorial:
k4 networks of width 64, latent 100, BCE on sigmoid outputs, Adam 2e-4 (0.5, 0.999), a DataLoader over
float images.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def generator(latent_size: int = 100, width: int = 64, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(latent_size, width * 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 8, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator(width: int = 64, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 2, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 4, width * 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 8, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


def initialise(module: nn.Module) -> None:
    name = type(module).__name__
    if "Conv" in name:
        nn.init.normal_(module.weight.data, 0.0, 0.02)
    elif "BatchNorm" in name:
        nn.init.normal_(module.weight.data, 1.0, 0.02)
        nn.init.constant_(module.bias.data, 0)


def steps(images: Tensor, batch_size: int) -> Iterator[float]:
    """Train on `images` uint8 `[n, 3, 64, 64]`; yields the seconds of each step, data included."""
    network_g, network_d = generator(), discriminator()
    network_g.apply(initialise)
    network_d.apply(initialise)
    criterion = nn.BCELoss()
    optimizer_d = torch.optim.Adam(network_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(network_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    dataset = [(image / 127.5 - 1.0) for image in images]
    while True:
        loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
        batches = iter(loader)
        for _ in range(len(loader)):
            begun = time.perf_counter()
            real = next(batches)
            network_d.zero_grad()
            label = torch.full((batch_size,), 1.0)
            output = network_d(real).view(-1)
            error_real = criterion(output, label)
            error_real.backward()
            output.mean().item()
            noise = torch.randn(batch_size, 100, 1, 1)
            fake = network_g(noise)
            label.fill_(0.0)
            output = network_d(fake.detach()).view(-1)
            error_fake = criterion(output, label)
            error_fake.backward()
            output.mean().item()
            optimizer_d.step()
            network_g.zero_grad()
            label.fill_(1.0)
            output = network_d(fake).view(-1)
            error_g = criterion(output, label)
            error_g.backward()
            output.mean().item()
            optimizer_g.step()
            yield time.perf_counter() - begun
