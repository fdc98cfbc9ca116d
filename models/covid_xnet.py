"""COVID-XNet: the classifier, and its serving form with the class activation map."""

from collections.abc import Sequence
from typing import Final

import keras
from keras import layers

SIDE: Final = 128
CLASSES: Final = ("other", "covid-19")
KERNELS: Final = (5, 5, 5, 3, 3)
FILTERS: Final = (8, 16, 32, 64, 64)


def covid_xnet(
    side: int = SIDE, kernels: Sequence[int] = KERNELS, filters: Sequence[int] = FILTERS, poolings: int | None = None
) -> keras.Model:
    """Build the classifier: five convolutions, a 2x2 max pooling between each two, global average pooling, softmax.

    poolings: how many of them there are, from the first on; all, as the paper has it, if None. Without the last, an
    image of half the size has a map of as many pixels.
    Input: float32 (N, side, side, 1), [0, 1]. Output: float32 (N, 2), probabilities of `CLASSES`.
    Batch normalisation, which the paper does not mention, lets Adadelta train it in far fewer steps.
    Source: COVID-XNet, section 2.3.
    """
    image = keras.Input((side, side, 1), name="image")
    x = image
    for i, (kernel, width) in enumerate(zip(kernels, filters, strict=True)):
        if i and (poolings is None or i <= poolings):
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        x = layers.Conv2D(width, kernel, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"features{i}")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(
        image, layers.Dense(len(CLASSES), activation="softmax", name="probabilities")(x), name="covid_xnet"
    )


def with_activation_map(*networks: keras.Model) -> keras.Model:
    """Give trained classifiers the second output, with the same weights; several vote, each with the same say.

    Outputs: float32 (N, 2) probabilities, of the networks' mean log probabilities; float32 (N, h, w, 1), the class
    activation map of covid-19: the last feature maps, weighted with the difference of the dense weights of the two
    classes; the mean over the networks. Its mean is, but for the bias, the logit of the score: what is hot is what
    raised it.
    Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
    """
    image = keras.Input(networks[0].input.shape[1:], name="image")
    logits, maps = [], []
    for i, network in enumerate(networks):
        features = keras.Model(network.input, network.get_layer("average").input, name=f"network{i}")(image)
        weights, bias = network.get_layer("probabilities").get_weights()
        vote = layers.Dense(len(CLASSES), name=f"vote{i}")
        logits.append(vote(layers.GlobalAveragePooling2D(name=f"average{i}")(features)))
        vote.set_weights([weights, bias])
        activation = layers.Conv2D(1, 1, use_bias=False, name=f"activation_map{i}")
        maps.append(activation(features))
        activation.set_weights([(weights[:, 1] - weights[:, 0])[None, None, :, None]])
    several = len(networks) > 1
    probabilities = layers.Softmax(name="probabilities")(layers.Average(name="votes")(logits) if several else logits[0])
    return keras.Model(
        image, [probabilities, layers.Average(name="activation_map")(maps) if several else maps[0]], name="covid_xnet"
    )
