"""TensorFlow 1 checkpoints like that of the published rib suppression, with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SHAPES: Final = {
    "encoder/layer/0/W": (5, 5, 1, 16),
    "encoder/layer/1/W": (5, 5, 16, 32),
    "encoder/layer/2/W": (5, 5, 32, 64),
}
"""As the graph stored beside the published checkpoint has them."""

Tensors = dict[str, NDArray[np.float32]]


def random_tensors(shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Tensors:
    random = np.random.default_rng(4)
    return {name: random.normal(0.01, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


def save_checkpoint(tensors: Tensors, folder: Path) -> Path:
    """Write a TensorFlow 1 checkpoint, with other variables beside, as a training leaves them; returns its prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        for name, value in tensors.items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        tf.compat.v1.get_variable("global_step", initializer=np.int64(7), use_resource=False)
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver()
            return Path(saver.save(session, str(folder / "model"), write_meta_graph=False))
