"""What the systems of one family share."""
