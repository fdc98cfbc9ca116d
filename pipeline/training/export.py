"""Bring a trained network into a registry: its Keras file for further training, its OpenVINO files for serving."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import openvino
from numpy.typing import NDArray

from models.registry import MANIFEST, Entry, OperatingPoint, Registry, sha256
from models.serving import Network

PARITY = 1e-5
"""Largest difference between Keras and OpenVINO, relative to the largest output where that exceeds 1."""


class ParityBroken(Exception):
    """An exported network computes something else than the one it was made of."""


def publish(
    network: keras.Model,
    folder: Path,
    *,
    name: str,
    title: str,
    version: str,
    data: str,
    metrics: Mapping[str, float],
    example: NDArray[np.float32],
    operating_point: OperatingPoint | None = None,
) -> Entry:
    """Write `network` as `name`.keras, .xml and .bin into `folder` and enter it in the manifest there.

    example: what the network sees in use, float32 (side, side), [0, 1]; both forms are compared on it.
    Raises ParityBroken if the exported network differs from the Keras one by more than 1e-5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = network.inputs[0].shape[1]
    # The same layers without the optimizer: its state is of no use to anybody, and twice as large as the weights.
    keras.Model(network.input, network.output, name=network.name).save(folder / f"{name}.keras")
    with warnings.catch_warnings():
        # The converter calls the network with a tuple, which Keras remarks upon.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        exported = openvino.convert_model(network, input=[1, side, side, 1])
    # The converter sorts the outputs by the names of their tensors, which Keras numbers as it makes them.
    by_name = {name: output.get_node() for output in exported.outputs for name in output.get_names()}
    results = [by_name[output.name] for output in network.outputs]
    exported = openvino.Model(results, exported.get_parameters(), network.name)
    openvino.save_model(exported, folder / f"{name}.xml", compress_to_fp16=False)
    difference = parity(network, folder / f"{name}.xml", example)
    if difference > PARITY:
        raise ParityBroken(f"{name}: OpenVINO differs from Keras by {difference:.1e}")
    registry = Registry.load(folder) if (folder / MANIFEST).exists() else Registry(folder=folder)
    entry = Entry(
        name=name,
        title=title,
        version=version,
        trained=datetime.now(UTC).date().isoformat(),
        side=side,
        files={file: sha256(folder / file) for file in (f"{name}.keras", f"{name}.xml", f"{name}.bin")},
        data=data,
        metrics={key: round(value, 4) for key, value in metrics.items()},
        operating_point=operating_point,
    )
    registry.with_entry(entry)
    return entry


def parity(network: keras.Model, exported: Path, image: NDArray[np.float32]) -> float:
    """Largest difference between a Keras network and its export on `image`, relative to outputs above 1.

    image: float32 (side, side), [0, 1].
    """
    image = image[None, :, :, None]
    ours = network(image, training=False)
    expected = [np.asarray(output) for output in (ours if isinstance(ours, list | tuple) else [ours])]
    return max(
        float(np.max(np.abs(a - b))) / max(1.0, float(np.max(np.abs(a))))
        for a, b in zip(expected, Network(exported)(image), strict=True)
    )
