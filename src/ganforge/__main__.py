"""`python -m ganforge`, as torchrun starts it."""

import signal
import sys

# While modules are imported Ctrl-C ends the process as any other signal does: an exception within an import
# could be swallowed there, and half a module would be used. `program` takes it back.
if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from ganforge.cli.main import program

if __name__ == "__main__":
    sys.exit(program())
