"""The engine: it knows System, never a particular one."""
