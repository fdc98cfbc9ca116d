"""The lung U-Net: which pixels of a chest radiograph are lung."""

from typing import Final

import keras
from keras import layers

SIDE: Final = 256
"""Side of its square input and output, in pixels."""


def lung_unet(filters: int = 8, depth: int = 5) -> keras.Model:
    """Build the network.

    Input: float32 (N, 256, 256, 1), [0, 1], air dark, scaled between robust percentiles.
    Output: float32 (N, 256, 256, 1), probability of lung.
    It works at half the size inside, for the outline of a lung is smooth: a quarter of the work.
    Source: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; COVID-XNet, section 2.3.
    """

    def block(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        for i in (1, 2):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv{i}")(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm{i}")(x)
            x = layers.ReLU(name=f"{name}_relu{i}")(x)
        return x

    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.Conv2D(filters, 4, strides=2, padding="same", activation="relu", name="halve")(image)
    skips = []
    for level in range(depth):
        x = block(x, filters * 2**level, f"down{level}")
        if level < depth - 1:
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
    for level in reversed(range(depth - 1)):
        x = layers.Conv2DTranspose(filters * 2**level, 2, strides=2, padding="same", name=f"enlarge{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
        x = block(x, filters * 2**level, f"up{level}")
    lung = layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="sigmoid", name="lung")(x)
    return keras.Model(image, lung, name="lung_unet")
