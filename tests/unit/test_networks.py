"""The networks: their architecture restated, their export against Keras, and the class activation map by hand."""

import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from models.covid_xnet import CLASSES, covid_xnet, with_activation_map
from models.lung_unet import lung_unet
from models.registry import SHIPPED, Registry, WeightsMismatch
from models.rib_suppression import published_autoencoder, rib_suppression
from models.serving import Network
from models.view_judge import committee, view_judge
from pipeline.localise import letterbox, stretch
from pipeline.preprocess import DEFAULT, match_histogram, working_frame
from pipeline.training.classifier import COURSES
from pipeline.training.export import ParityBroken, parity, publish
from pipeline.training.start import begin_with
from tests.phantom import chest_phantom

SHIPPED_NETWORKS = ("lung_unet", "rib_suppression", "covid_xnet", "view_judge")

Layers = list[keras.layers.Layer]


def shipped_keras(name: str) -> keras.Model:
    return keras.models.load_model(Registry.load(SHIPPED).file(name, ".keras"), compile=False)


def outputs_of(network: keras.Model, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    outputs = network(image, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def layers_of(network: keras.Model, *kinds: type[keras.layers.Layer]) -> Layers:
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def radiograph_like(side: int, seed: int) -> NDArray[np.float32]:
    """Smooth grey levels from black to white, as networks are used to, but no radiograph."""
    coarse = np.random.default_rng(seed).random((1, 8, 8, 1), dtype=np.float32)
    return np.asarray(keras.ops.image.resize(coarse, (side, side), interpolation="bilinear"), np.float32)


def with_random_statistics(network: keras.Model) -> keras.Model:
    """Give batch normalisation moments that do something: fresh ones are the identity."""
    random = np.random.default_rng(3)
    for layer in layers_of(network, keras.layers.BatchNormalization):
        layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return network


def difference(network: keras.Model, exported: Network, image: NDArray[np.float32]) -> float:
    """The largest of any output, relative to the largest value where that exceeds 1."""
    expected, found = outputs_of(network, image), exported(image)
    assert [(a.shape, a.dtype) for a in expected] == [(b.shape, b.dtype) for b in found]
    return max(
        float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max())) for a, b in zip(expected, found, strict=True)
    )


@pytest.mark.parametrize("name", SHIPPED_NETWORKS)
def test_the_shipped_openvino_network_computes_what_the_shipped_keras_network_computes(name: str) -> None:
    registry = Registry.load(SHIPPED)
    network, exported = shipped_keras(name), Network(registry.file(name, ".xml"))
    side = registry.entries[name].side
    for seed in range(4):
        frame = working_frame(chest_phantom((320, 280), seed=seed))
        for image in (stretch(frame), match_histogram(frame)):
            assert difference(network, exported, letterbox(image, side)[None, :, :, None]) <= 1e-5
    noise = np.random.default_rng(1).random((1, side, side, 1), dtype=np.float32)
    for image in (noise, radiograph_like(side, 2), np.zeros_like(noise), np.ones_like(noise)):
        # Nothing that a network was trained on: sums of larger terms, in another order, differ a little more.
        assert difference(network, exported, image) <= 3e-5


@pytest.mark.parametrize("name", SHIPPED_NETWORKS)
def test_the_shipped_network_is_what_its_builder_builds(name: str) -> None:
    shipped = shipped_keras(name)
    builders: dict[str, Callable[[], keras.Model]] = {
        "lung_unet": lung_unet,
        "rib_suppression": rib_suppression,
        "covid_xnet": lambda: with_activation_map(
            *(covid_xnet(DEFAULT.side, poolings=COURSES["default"].poolings) for _ in voters(shipped))
        ),
        "view_judge": lambda: committee([view_judge() for _ in range(5)]),
    }
    fresh = builders[name]()
    assert [(type(a), a.name) for a in shipped.layers] == [(type(b), b.name) for b in fresh.layers]
    assert [w.shape for w in shipped.get_weights()] == [w.shape for w in fresh.get_weights()]
    side = Registry.load(SHIPPED).entries[name].side
    assert tuple(shipped.inputs[0].shape) == (None, side, side, 1)


def test_covid_xnet_has_five_convolutions_four_poolings_and_no_dense_layer_but_the_last() -> None:
    network = covid_xnet()
    convolutions = layers_of(network, keras.layers.Conv2D)
    assert [layer.kernel_size for layer in convolutions] == [(5, 5), (5, 5), (5, 5), (3, 3), (3, 3)]
    assert [layer.strides for layer in convolutions] == [(1, 1)] * 5
    poolings = layers_of(network, keras.layers.MaxPooling2D)
    assert [(layer.pool_size, layer.strides) for layer in poolings] == [((2, 2), (2, 2))] * 4
    assert len(layers_of(network, keras.layers.GlobalAveragePooling2D)) == 1
    (dense,) = layers_of(network, keras.layers.Dense)
    assert network.layers[-1] is dense
    assert dense.units == len(CLASSES) == 2
    assert dense.activation is keras.activations.softmax
    # Conv, pool, conv, pool, conv, pool, conv, pool, conv, average, dense.
    walk = layers_of(
        network,
        keras.layers.Conv2D,
        keras.layers.MaxPooling2D,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.Dense,
    )
    letters = {"Conv2D": "c", "MaxPooling2D": "p", "GlobalAveragePooling2D": "a", "Dense": "d"}
    assert "".join(letters[type(layer).__name__] for layer in walk) == "cpcpcpcpcad"
    assert tuple(network.input.shape) == (None, 128, 128, 1)
    # 128 / 2^4: cells of the class activation map along a side.
    assert tuple(network.get_layer("average").input.shape[1:3]) == (8, 8)


def test_without_its_last_pooling_a_smaller_image_has_a_map_of_as_many_pixels() -> None:
    whole, smaller = covid_xnet(), covid_xnet(64, poolings=3)
    assert len(layers_of(smaller, keras.layers.MaxPooling2D)) == 3
    assert smaller.get_layer("average").input.shape[1:3] == whole.get_layer("average").input.shape[1:3]
    assert [w.shape for w in smaller.get_weights()] == [w.shape for w in whole.get_weights()]


def test_covid_xnet_gives_probabilities() -> None:
    (probabilities,) = outputs_of(covid_xnet(), np.random.default_rng(0).random((3, 128, 128, 1), dtype=np.float32))
    assert probabilities.shape == (3, 2)
    assert (probabilities >= 0).all()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_lung_network_gives_a_probability_for_each_pixel() -> None:
    network = lung_unet()
    (lung,) = outputs_of(network, radiograph_like(256, 0))
    assert lung.shape == (1, 256, 256, 1)
    assert 0 <= lung.min() <= lung.max() <= 1
    # A U: every level on the way up joins one on the way down.
    assert len(layers_of(network, keras.layers.MaxPooling2D)) == len(layers_of(network, keras.layers.Concatenate)) == 4


def test_the_published_autoencoder_has_64400_weights_that_its_decoder_uses_again() -> None:
    random = np.random.default_rng(0)
    shapes = [(5, 5, 1, 16), (5, 5, 16, 32), (5, 5, 32, 64)]
    weights = [random.normal(0, 0.1, shape).astype(np.float32) for shape in shapes]
    assert sum(w.size for w in weights) == 64_400
    network = published_autoencoder(side=64, weights=weights)
    encoder, decoder = ([network.get_layer(f"{part}{i}") for i in range(3)] for part in ("encode", "decode"))
    for i, expected in enumerate(weights):
        for layer in (encoder[i], decoder[i]):
            (found,) = layer.get_weights()  # one tensor: no bias
            assert np.array_equal(found, expected)
            assert layer.activation is keras.activations.relu
            assert layer.padding == "same"
    assert [layer.filters for layer in (*encoder, *reversed(decoder))] == [16, 32, 64, 32, 16, 1]
    assert [layer.strides for layer in (*encoder, *decoder)] == [(1, 1)] * 3 + [(2, 2)] * 3
    assert len(layers_of(network, keras.layers.MaxPooling2D)) == 3
    assert network.count_params() == 2 * 64_400
    (output,) = outputs_of(network, radiograph_like(64, 1))
    assert output.shape == (1, 64, 64, 1)
    assert output.min() >= 0


def test_the_published_autoencoder_works_at_1024_pixels() -> None:
    assert tuple(published_autoencoder().input.shape) == (None, 1024, 1024, 1)


def test_our_rib_suppression_takes_shadows_from_the_radiograph() -> None:
    network = rib_suppression(side=64)
    image = radiograph_like(64, 1)
    (soft_tissue,) = outputs_of(network, image)
    (shadows,) = outputs_of(keras.Model(network.input, network.get_layer("shadows").output), image)
    assert soft_tissue.shape == image.shape
    assert np.abs(shadows).max() > 0
    assert np.allclose(soft_tissue, image - shadows, atol=1e-6)
    # Edges and the finest detail begin with no shadow, so that a network may grow them.
    silent = network.get_layer("shadow")
    silent.set_weights([np.zeros_like(w) for w in silent.get_weights()])
    assert np.array_equal(outputs_of(network, image)[0], image)


def test_a_training_begins_with_the_weights_of_an_earlier_network_of_its_name() -> None:
    network = lung_unet()
    begin_with(network, SHIPPED)
    image = radiograph_like(256, 0)
    assert np.array_equal(outputs_of(network, image)[0], outputs_of(shipped_keras("lung_unet"), image)[0])
    other = keras.Model(network.input, network.output, name="another")
    with pytest.raises(WeightsMismatch, match="has no network another"):
        begin_with(other, SHIPPED)


def test_a_layer_that_the_earlier_network_has_in_another_shape_keeps_its_own_weights() -> None:
    wider = lung_unet(filters=12)
    before = wider.get_layer("halve").get_weights()[0].copy()
    begin_with(wider, SHIPPED)
    assert np.array_equal(wider.get_layer("halve").get_weights()[0], before)


def voters(committee: keras.Model) -> list[keras.Model]:
    """The parts of a committee that make features, in the order of their votes."""
    return [committee.get_layer(f"network{i}") for i in range(len(layers_of(committee, keras.layers.Dense)))]


def committee_by_hand(
    committee: keras.Model, image: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class activation map and logits of the difference: the means of the voters'."""
    maps, logits = [], []
    for i, voter in enumerate(voters(committee)):
        (features,) = outputs_of(voter, image)
        weights, bias = committee.get_layer(f"vote{i}").get_weights()
        maps.append(np.einsum("nhwc,c->nhw", features, weights[:, 1] - weights[:, 0]))
        logits.append(maps[-1].mean(axis=(1, 2)) + (bias[1] - bias[0]))
    return np.mean(maps, axis=0), np.mean(logits, axis=0)


def by_hand(classifier: keras.Model, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class activation map and logits of the difference from the last features and the dense weights."""
    (features,) = outputs_of(keras.Model(classifier.inputs[0], classifier.get_layer("features4").output), image)
    weights, bias = classifier.get_layer("probabilities").get_weights()
    difference = weights[:, 1] - weights[:, 0]
    activation = np.einsum("nhwc,c->nhw", features, difference)
    return activation, activation.mean(axis=(1, 2)) + (bias[1] - bias[0])


def test_the_activation_map_of_the_shipped_export_is_the_one_computed_by_hand() -> None:
    network = shipped_keras("covid_xnet")
    exported = Network(Registry.load(SHIPPED).file("covid_xnet", ".xml"))
    for seed in range(3):
        image = radiograph_like(DEFAULT.side, seed)
        probabilities, activation = exported(image)
        expected, logit = committee_by_hand(network, image)
        assert activation.shape == (1, 8, 8, 1)
        assert np.abs(activation[..., 0] - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))
        assert probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-logit[0])), abs=1e-5)


def test_the_activation_map_explains_the_score_of_any_classifier() -> None:
    keras.utils.set_random_seed(7)
    classifier = with_random_statistics(covid_xnet(side=32))
    image = np.random.default_rng(5).random((4, 32, 32, 1), dtype=np.float32)
    (probabilities,) = outputs_of(classifier, image)
    same, activation = outputs_of(with_activation_map(classifier), image)
    expected, logit = by_hand(classifier, image)
    assert np.allclose(same, probabilities, atol=1e-6)
    assert np.allclose(activation[..., 0], expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(probabilities[:, 1], 1 / (1 + np.exp(-logit)), atol=1e-5)


EXAMPLE = chest_phantom(32)


def test_several_networks_vote_with_their_mean_logits_and_show_their_mean_map() -> None:
    keras.utils.set_random_seed(8)
    networks = [with_random_statistics(covid_xnet(side=32)) for _ in range(3)]
    image = np.random.default_rng(6).random((4, 32, 32, 1), dtype=np.float32)
    probabilities, activation = outputs_of(with_activation_map(*networks), image)
    maps, logits = zip(*(by_hand(network, image) for network in networks), strict=True)
    assert np.allclose(activation[..., 0], np.mean(maps, axis=0), rtol=1e-4, atol=1e-5)
    assert np.allclose(probabilities[:, 1], 1 / (1 + np.exp(-np.mean(logits, axis=0))), atol=1e-5)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_publish_writes_a_network_that_the_registry_verifies_and_openvino_runs(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    network = with_random_statistics(with_activation_map(covid_xnet(side=32)))
    entry = publish(
        network,
        tmp_path,
        name="tiny",
        title="Tiny",
        version="3",
        data="nothing",
        metrics={"a": 1 / 3},
        example=EXAMPLE,
    )
    registry = Registry.load(tmp_path)
    assert registry.entries == {"tiny": entry}
    assert set(entry.files) == {path.name for path in tmp_path.iterdir()} - {"manifest.json"}
    assert (entry.side, entry.version, entry.metrics) == (32, "3", {"a": 0.3333})
    assert parity(network, registry.file("tiny", ".xml"), EXAMPLE) <= 1e-5
    again = publish(
        network, tmp_path, name="tiny", title="Tiny", version="4", data="nothing", metrics={}, example=EXAMPLE
    )
    assert Registry.load(tmp_path).entries == {"tiny": again}


def test_an_export_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(1)
    network, other = covid_xnet(side=32), with_random_statistics(covid_xnet(side=32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken = openvino.convert_model(other, input=[1, 32, 32, 1])
    broken.output(0).tensor.set_names({network.output.name})
    monkeypatch.setattr(openvino, "convert_model", lambda *_, **__: broken)
    with pytest.raises(ParityBroken, match=r"tiny: OpenVINO differs from Keras by \d"):
        publish(network, tmp_path, name="tiny", title="Tiny", version="3", data="nothing", metrics={}, example=EXAMPLE)
    assert not (tmp_path / "manifest.json").exists()


def test_who_infers_is_not_bound_to_a_core_so_that_workers_share_the_machine() -> None:
    network = Network(Registry.load(SHIPPED).file("rib_suppression", ".xml"))
    inferring, seen = threading.get_native_id(), set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(frozenset(os.sched_getaffinity(inferring)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(5):
            network(np.zeros((1, 512, 512, 1), np.float32))
    finally:
        done.set()
        watcher.join()
    assert seen == {frozenset(os.sched_getaffinity(0))}
