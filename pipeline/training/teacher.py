"""Import the published rib-suppression autoencoder from its TensorFlow 1 checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from models.rib_suppression import PUBLISHED_SIDE, published_autoencoder

_TENSORS: Final = tuple(f"encoder/layer/{i}/W" for i in range(3))
_EXAMPLE: Final = ("test.png", "output.png")


class BadCheckpoint(Exception):
    """Not the published checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How our output differs from the published example: pixels of `total`, by at most `largest` grey levels of 256."""

    differing: int
    total: int
    largest: int

    @property
    def holds(self) -> bool:
        """Whether only rounding differs: another build of TensorFlow adds in another order."""
        return self.largest <= 1 and self.differing <= self.total // 10_000

    def __str__(self) -> str:
        return f"{self.differing:,} of {self.total:,} pixels of the published example differ, by at most {self.largest}"


def import_checkpoint(checkpoint: Path) -> keras.Model:
    """Build the published autoencoder from its checkpoint.

    checkpoint: its prefix, such as `folder/model`, or the folder. Raises BadCheckpoint if the tensors are not there.
    """
    prefix = checkpoint
    if checkpoint.is_dir():
        indices = sorted(checkpoint.glob("*.index"))
        if len(indices) != 1:
            raise BadCheckpoint(f"{checkpoint} holds {len(indices)} checkpoints (*.index), not one")
        prefix = indices[0].with_suffix("")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        weights = [reader.get_tensor(name) for name in _TENSORS]
    except (tf.errors.OpError, ValueError, IndexError) as e:  # IndexError: the data end before a tensor does
        raise BadCheckpoint(f"{prefix} is no checkpoint with {', '.join(_TENSORS)}: {e}") from e
    try:
        return published_autoencoder(weights=weights)
    except ValueError as e:
        raise BadCheckpoint(f"{prefix} has tensors of another shape: {e}") from e


def reproduce(network: keras.Model, folder: Path) -> Reproduction | None:
    """Compare with the example that lies beside the published checkpoint; None if there is none.

    The example is a negative already; its output is shown stretched from minimum to maximum.
    """
    files = [folder / name for name in _EXAMPLE]
    if not all(file.is_file() for file in files):
        return None
    given, expected = (np.asarray(_square(Image.open(file).convert("L")), np.float32) for file in files)
    output = np.asarray(network(given[None, :, :, None] / 255, training=False))[0, :, :, 0]
    shown = np.rint((output - output.min()) / (output.max() - output.min()) * 255)
    difference = np.abs(shown - expected)
    return Reproduction(
        differing=int(np.count_nonzero(difference)), total=difference.size, largest=int(difference.max())
    )


def _square(image: Image.Image) -> Image.Image:
    side = max(image.size)
    padded = Image.new("L", (side, side))
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded.resize((PUBLISHED_SIDE, PUBLISHED_SIDE), Image.Resampling.LANCZOS)
