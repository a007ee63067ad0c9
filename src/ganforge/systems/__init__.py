"""Systems: one paper per file; the file name is the system's name."""
