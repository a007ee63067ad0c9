"""The studio: a page in the browser over run folders and the same commands."""
