"""An encoder of distributions."""

from torch import Tensor, nn

# A variance of exp(-10) is a standard deviation of 0.7 % of the prior's; far beyond, exp would overflow.
LOG_VARIANCE_RANGE = (-10.0, 10.0)


class GaussianEncoder(nn.Module):
    """Images to the mean and the log variance of q(z|x), each `[batch, latent_size]`, in float32.

    `body` gives both side by side, `[batch, 2 * latent_size]`; the log variance is clamped to [-10, 10].
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance."""
        mean, log_variance = self.body(images).float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)
