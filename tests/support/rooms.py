"""The rooms of the package from top to bottom: a module imports only from its own or from those above."""

ROOMS = (
    ("errors", "version"),
    ("nn",),
    ("files", "distributed"),
    ("data",),
    ("system",),
    ("systems",),
    ("reporting",),
    ("runs",),
    ("text",),
    ("export",),
    ("generation",),
    ("evaluation",),
    ("training", "recipes"),
    ("server",),
    ("studio",),
    ("cli",),
    ("__main__",),
)
