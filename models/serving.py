"""Run a network with OpenVINO: float32, one thread, without TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray


class Network:
    """A network that is ready to run; not for use by several threads at once."""

    def __init__(self, file: Path) -> None:
        """Load an exported network, `.xml` with `.bin` beside it."""
        self._request = (
            openvino.Core()
            .compile_model(
                file,
                "CPU",
                {
                    # Some processors would compute in bfloat16 without being asked.
                    "INFERENCE_PRECISION_HINT": "f32",
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": 1,
                    "NUM_STREAMS": 1,
                    # Else every process that infers binds itself to the same core, and the others idle.
                    "ENABLE_CPU_PINNING": False,
                },
            )
            .create_infer_request()
        )

    def __call__(self, image: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """Run it. image: float32 (1, h, w, 1). Returns its outputs, float32."""
        outputs: dict[Any, NDArray[np.float32]] = self._request.infer([np.ascontiguousarray(image)]).to_tuple()
        return [np.array(output) for output in outputs]
