"""Data: names, folders and archives in; fixed-size pictures in a reproducible order out."""
