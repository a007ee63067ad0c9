"""What a trained model is for: paths, arithmetic, traversals, directions and projections of its latents."""
