"""Give a network to others, in a form that their software runs, with its manifest, and compared with Keras."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.registry import Registry, sha256
from models.serving import Network
from pipeline.training.export import PARITY, ParityBroken

Images = NDArray[np.float32]

_LOOSER: Final = 1e-4
"""Largest difference of forms that are run by other engines than ours: their sums have another order."""


class Form(StrEnum):
    """Of a network that is handed out."""

    OPENVINO = "openvino"
    """The files that the node serves, .xml and .bin."""

    SAVED_MODEL = "saved-model"
    """A folder of TensorFlow, for TensorFlow Serving and for converters to other forms."""

    LITERT = "litert"
    """A .tflite file of LiteRT, formerly TensorFlow Lite."""


class NotEmpty(Exception):
    """The folder holds something already."""


def hand_out(registry: Registry, name: str, form: Form, folder: Path, example: Images) -> float:
    """Write network `name` into `folder`, with a manifest that names its files; returns its difference from Keras.

    example: float32 (side, side), [0, 1], on which they are compared. The difference is relative to outputs above 1.
    Raises WeightsMismatch if the files are not those of the manifest, NotEmpty if something is there already, and
    ParityBroken if the network computes something else than the one in Keras.
    """
    source = registry.file(name, ".keras")
    if folder.exists() and any(folder.iterdir()):
        raise NotEmpty(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    network = keras.saving.load_model(source, compile=False)
    image = np.ascontiguousarray(example[None, :, :, None])
    # Keras names the input, and remarks upon an image without the name.
    expected = _as_list(network({network.inputs[0].name: image}, training=False))
    found = _written(network, registry, name, form, folder)(image)
    limit = PARITY if form is Form.OPENVINO else _LOOSER
    difference = max(
        float(np.max(np.abs(a - b))) / max(1.0, float(np.max(np.abs(a)))) for a, b in zip(expected, found, strict=True)
    )
    if difference > limit:
        raise ParityBroken(f"{name}: {form.value} differs from Keras by {difference:.1e}")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    entry = replace(registry.entries[name], files={str(f.relative_to(folder)): sha256(f) for f in files})
    Registry(folder=folder).with_entry(entry)
    return difference


def _written(
    network: keras.Model, registry: Registry, name: str, form: Form, folder: Path
) -> Callable[[Images], Sequence[Images]]:
    """Write the network, and return what runs it as it was written."""
    if form is Form.OPENVINO:
        for suffix in (".xml", ".bin"):
            shutil.copyfile(registry.file(name, suffix), folder / f"{name}{suffix}")
        return Network(folder / f"{name}.xml")
    if form is Form.SAVED_MODEL:
        network.export(folder / name, format="tf_saved_model", verbose=False)
        served = tf.saved_model.load(folder / name)
        return lambda image: _as_list(served.serve(image))
    network.export(folder / f"{name}.tflite", format="litert", verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its interpreter will move to another package
        runner = tf.lite.Interpreter(str(folder / f"{name}.tflite")).get_signature_runner()
    (input_name,) = runner.get_input_details()
    outputs = sorted(runner.get_output_details())
    return lambda image: [runner(**{input_name: image})[output] for output in outputs]


def _as_list(outputs: object) -> list[Images]:
    return [np.asarray(each, np.float32) for each in (outputs if isinstance(outputs, list | tuple) else [outputs])]
