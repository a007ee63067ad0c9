"""Runs served over HTTP: requests in, images out, each model's requests batched by a thread of its own."""
