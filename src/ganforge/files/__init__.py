"""Bytes on disk: atomic writes, downloads, PNG and .pth files; nothing of ours."""
