"""Training a run: plan, loop, resume, validation and diagnosis."""
