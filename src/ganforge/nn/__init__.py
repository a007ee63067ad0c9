"""Mathematics, torch only: losses, likelihoods, layers, augmentation, optimizers and networks."""
