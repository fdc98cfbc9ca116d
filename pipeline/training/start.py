"""Begin a training where an earlier one ended."""

from pathlib import Path

import keras

from models.registry import Registry


def begin_with(network: keras.Model, weights: Path) -> None:
    """Give `network` the weights of the one of its name in the registry `weights`, layer by layer.

    A layer that the earlier one has not, or has in another shape, keeps its own: networks may grow.
    Raises WeightsMismatch if there is no such network.
    """
    earlier = keras.saving.load_model(Registry.load(weights).file(network.name, ".keras"), compile=False)
    known = {layer.name: layer.get_weights() for layer in earlier.layers}
    for layer in network.layers:
        found = known.get(layer.name, [])
        if [w.shape for w in found] == [w.shape for w in layer.get_weights()]:
            layer.set_weights(found)
