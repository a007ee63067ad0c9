"""Data: names, folders and archives in; fixed-size images in a reproducible order out."""
