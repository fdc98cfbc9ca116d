"""COVID-XNet: the classifier, and its serving form with the class activation map."""

from collections.abc import Sequence
from typing import Final

import keras
from keras import layers

SIDE: Final = 128
CLASSES: Final = ("other", "covid-19")
KERNELS: Final = (5, 5, 5, 3, 3)
FILTERS: Final = (8, 16, 32, 64, 64)


def covid_xnet(side: int = SIDE, kernels: Sequence[int] = KERNELS, filters: Sequence[int] = FILTERS) -> keras.Model:
    """Build the classifier: five convolutions, a 2x2 max pooling between each two, global average pooling, softmax.

    Input: float32 (N, side, side, 1), [0, 1]. Output: float32 (N, 2), probabilities of `CLASSES`.
    Batch normalisation, which the paper does not mention, lets Adadelta train it in far fewer steps.
    Source: COVID-XNet, section 2.3.
    """
    image = keras.Input((side, side, 1), name="image")
    x = image
    for i, (kernel, width) in enumerate(zip(kernels, filters, strict=True)):
        if i:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        x = layers.Conv2D(width, kernel, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"features{i}")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(
        image, layers.Dense(len(CLASSES), activation="softmax", name="probabilities")(x), name="covid_xnet"
    )


def with_activation_map(network: keras.Model) -> keras.Model:
    """Give a trained classifier its second output, with the same weights.

    Outputs: float32 (N, 2) probabilities; float32 (N, h, w, 1), the class activation map of covid-19: the last
    feature maps, weighted with the difference of the dense weights of the two classes. Its mean is, but for the bias,
    the logit of the score: what is hot is what raised it.
    Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
    """
    average = network.get_layer("average")
    features = average.input
    activation = layers.Conv2D(1, 1, use_bias=False, name="activation_map")
    model = keras.Model(network.input, [network.output, activation(features)], name="covid_xnet_serving")
    dense = network.get_layer("probabilities").get_weights()[0]
    activation.set_weights([(dense[:, 1] - dense[:, 0])[None, None, :, None]])
    return model
