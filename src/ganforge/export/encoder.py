"""The encoder of captions, which goes along with a run that was trained on its embeddings."""

from collections.abc import Callable
from pathlib import Path

from ganforge.export.places import name_of
from ganforge.runs.trained import Trained, load
from ganforge.text.encoders import FOLDER, LIBRARY, LibraryEncoder, open_encoder


def write_encoder(trained: Trained, out: Path, write: Callable[[Trained, Path], None]) -> None:
    """Write the encoder of `trained`, if it has one, into the folder `out`.

    `write` writes one that is a run; of a library's model its name is kept, without folders.
    """
    encoder = trained.run.path / FOLDER
    if (encoder / "config.json").is_file():
        (out / FOLDER).mkdir()
        write(load(encoder, device="cpu"), out / FOLDER)
    elif encoder.is_dir() and isinstance(of_library := open_encoder(str(encoder)), LibraryEncoder):
        LibraryEncoder(name_of(LIBRARY + of_library.model).removeprefix(LIBRARY)).keep(out / FOLDER)
