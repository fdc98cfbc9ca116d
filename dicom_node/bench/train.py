"""Whether the input is the limit of training: images varied for each second, beside images learnt."""

import time

import numpy as np

from dicom_node.bench.report import Report, Section, Value
from dicom_node.errors import NodeError


def measure(*, images: int, batches: int) -> Report:
    """Vary batches of drawn images, then let the network learn batches that are ready.

    images: that are prepared. batches: of each measurement. Raises NodeError if TensorFlow is not installed.
    """
    began = time.monotonic()
    try:
        import keras

        from models.covid_xnet import covid_xnet
        from pipeline.preprocess import DEFAULT, PAPER
        from pipeline.training.classifier import BATCH, COURSES, batches_of
    except ModuleNotFoundError as e:
        raise NodeError(
            f"{e.name} is not installed.", hint="Install the extra: pip install 'covid-xnet[train]'."
        ) from e
    random = np.random.default_rng(0)
    rows: list[dict[str, Value]] = []
    for recipe in (DEFAULT, PAPER):
        course = COURSES[recipe.name]
        prepared = random.integers(0, 256, (images, recipe.side, recipe.side), np.uint8)
        sure = np.eye(2)[random.integers(0, 2, images)]
        supply = batches_of(prepared, sure, np.ones(images), course.vary, seed=0)
        next(supply)
        begin = time.process_time()
        ready = [next(supply) for _ in range(batches)]
        varied = BATCH * batches / (time.process_time() - begin)
        network = covid_xnet(side=recipe.side, poolings=course.poolings)
        network.compile(keras.optimizers.Adadelta(learning_rate=1.0), "categorical_crossentropy")
        network.train_on_batch(*ready[0][:2])
        begin, cpu = time.perf_counter(), time.process_time()
        for x, y, _ in ready:
            network.train_on_batch(x, y)
        learnt = BATCH * batches / (time.perf_counter() - begin)
        rows.append(
            {
                "recipe": recipe.name,
                "varied/s of one core": varied,
                "learnt/s": learnt,
                "ratio": varied / learnt,
                "learning, CPU ms/image": 1000 * (time.process_time() - cpu) / (BATCH * batches),
            }
        )
    return Report(
        command="train",
        sections=[
            Section(
                title="Input of training beside the network itself",
                note=f"Batches of {BATCH} of prepared images. Ratio above 1: the input is not the limit.",
                rows=rows,
            )
        ],
        seconds=time.monotonic() - began,
    )
