"""The view judge: whether an image is a frontal chest radiograph, a lateral one, or neither."""

from collections.abc import Sequence
from typing import Final

import keras
from keras import layers

SIDE: Final = 64
"""Side of its square input, in pixels."""

CLASSES: Final = ("frontal", "lateral", "neither")
"""Of the softmax, in its order."""


def view_judge(side: int = SIDE, filters: int = 12) -> keras.Model:
    """Build the network.

    Input: float32 (N, 64, 64, 1), [0, 1], air dark, squeezed into a square: the shape of an image tells its archive.
    Output: float32 (N, 3), the probability of each of `CLASSES`.
    """
    image = keras.Input((side, side, 1), name="image")
    x = image
    for i in range(4):
        x = layers.Conv2D(filters * 2**i, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    # Where something is matters as much as what it is: the spine is in the middle, or at the edge.
    x = layers.Flatten(name="features")(x)
    x = layers.Dropout(0.3, name="drop")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    x = layers.Dense(len(CLASSES), activation="softmax", name="view")(x)
    return keras.Model(image, x, name="view_judge")


def committee(networks: Sequence[keras.Model]) -> keras.Model:
    """One network whose probabilities are the means of those of `networks`."""
    image = keras.Input(networks[0].input.shape[1:], name="image")
    # Without their optimizers: their state is of no use to anybody.
    voters = [keras.Model(each.input, each.output, name=f"network{i}") for i, each in enumerate(networks)]
    return keras.Model(image, layers.Average(name="views")([vote(image) for vote in voters]), name="view_judge")
