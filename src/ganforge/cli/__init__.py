"""The command line."""

import time

STARTED = time.monotonic()
"""When this program started, nearly: its command line is imported first. Start-up time counts from here."""

EXIT_BAD_DATA, EXIT_MISTAKE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141
