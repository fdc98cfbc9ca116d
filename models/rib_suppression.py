"""Rib suppression: the published autoencoder, and a smaller network of our own that was taught by it."""

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import layers

SIDE: Final = 512
"""Side of the square on which our own network works, in pixels."""
PUBLISHED_SIDE: Final = 1024
"""Side of the square on which the published autoencoder was trained."""
_PUBLISHED_FILTERS: Final = (16, 32, 64)


def published_autoencoder(side: int = PUBLISHED_SIDE, weights: Sequence[Any] | None = None) -> keras.Model:
    """Build the autoencoder of Chuong M. Huynh (github.com/hmchuong/ML-BoneSuppression, MIT licence).

    Input and output: float32 (N, side, side, 1), **lungs bright, bones dark**: the negative of a radiograph. The output
    is not bounded (about 0 to 1.15).
    weights: the tensors encoder/layer/0..2/W, each [5, 5, in, out]; the decoder uses them in reverse.
    Source: the graph that is stored with the published checkpoint.
    """
    image = keras.Input((side, side, 1), name="image")
    x = image
    for i, filters in enumerate(_PUBLISHED_FILTERS):
        x = layers.Conv2D(filters, 5, padding="same", use_bias=False, activation="relu", name=f"encode{i}")(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{i}")(x)
    for i, filters in reversed(list(enumerate((1, *_PUBLISHED_FILTERS[:-1])))):
        x = layers.Conv2DTranspose(
            filters, 5, strides=2, padding="same", use_bias=False, activation="relu", name=f"decode{i}"
        )(x)
    network = keras.Model(image, x, name="published_rib_suppression")
    if weights is not None:
        for i, tensor in enumerate(weights):
            network.get_layer(f"encode{i}").set_weights([tensor])
            # [5, 5, in, out] of the convolution is [5, 5, out, in] of its transpose: the same tensor fits both.
            network.get_layer(f"decode{i}").set_weights([tensor])
    return network


def rib_suppression(side: int = SIDE, filters: int = 16) -> keras.Model:
    """Build our own network: it predicts the shadow of the bones, which is taken from the radiograph.

    Input: float32 (N, side, side, 1), [0, 1], air dark. Output: the same without ribs, about [0, 1].
    Bones are broad and soft, so most of it works on a quarter and an eighth of the size; their edges need more:
    a shallow path at half the size, and one filter at the full size. Both begin with no shadow.
    """
    image = keras.Input((side, side, 1), name="image")

    def conv(x: keras.KerasTensor, width: int, name: str, kernel: int = 3, strides: int = 1) -> keras.KerasTensor:
        return layers.Conv2D(width, kernel, strides=strides, padding="same", activation="relu", name=name)(x)

    quarter = conv(conv(image, filters, "quarter_1", kernel=8, strides=4), filters, "quarter_2")
    eighth = conv(quarter, 2 * filters, "eighth_1", strides=2)
    for i in (2, 3, 4):
        eighth = layers.Add(name=f"eighth_sum{i}")([eighth, conv(eighth, 2 * filters, f"eighth_{i}")])
    back = layers.Conv2DTranspose(filters, 2, strides=2, activation="relu", name="back")(eighth)
    quarter = conv(layers.Concatenate(name="join")([quarter, back]), filters, "quarter_3")
    broad = layers.Conv2DTranspose(1, 8, strides=4, padding="same", name="shadow")(quarter)

    back = layers.Conv2DTranspose(filters // 4, 2, strides=2, activation="relu", name="half_back")(quarter)
    half = layers.Concatenate(name="half_join")([conv(image, filters // 4, "half_1", kernel=5, strides=2), back])
    half = conv(half, filters // 4, "half_2")
    edges = layers.Conv2DTranspose(1, 4, strides=2, padding="same", kernel_initializer="zeros", name="edge_shadow")(
        half
    )
    fine = layers.Conv2D(1, 5, padding="same", kernel_initializer="zeros", name="fine_shadow")(image)
    shadows = layers.Add(name="shadows")([broad, edges, fine])
    return keras.Model(image, layers.Subtract(name="soft_tissue")([image, shadows]), name="rib_suppression")
