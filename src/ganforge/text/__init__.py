"""Text encoders and embeddings of captions."""
