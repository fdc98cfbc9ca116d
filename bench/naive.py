"""The naive build of the same node, as a yardstick: what its tutorials put together. Not for any use but to measure.

`python bench/naive.py PORT FOLDER [AET@host:port]`

pynetdicom's example of a storage SCP (event.dataset, save_as), scikit-image on full-size pixels, `keras predict` with
the same networks, a colour map of matplotlib, a Secondary Capture and a plain report, and one association for each
radiograph back to the PACS. Nothing is synced, nothing is repeated: what it loses is lost. One thread reads while the
others receive, and TensorFlow may use all cores.
"""

import queue
import sys
import threading
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

WEIGHTS = Path(__file__).parents[1] / "models" / "weights"
SIDE, LUNG_SIDE = 64, 256


class Reader:
    """Reads one radiograph after the other and sends what it made of it."""

    def __init__(self, pacs: str) -> None:
        import keras

        title, _, place = pacs.partition("@")
        host, _, port = place.rpartition(":")
        self._pacs = title, host, int(port)
        self._lungs = keras.models.load_model(WEIGHTS / "lung_unet.keras", compile=False)
        self._classifier = keras.models.load_model(WEIGHTS / "covid_xnet.keras", compile=False)
        self.waiting: queue.SimpleQueue[Dataset] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            source = self.waiting.get()
            overlay, score = self._read(source.pixel_array)
            self._send(secondary_capture(source, overlay), report(source, score))

    def _read(self, stored: Any) -> tuple[Any, float]:
        """Overlay, uint8 (H, W, 3), and score; stored: the pixels of the object."""
        import matplotlib
        import numpy as np
        from skimage.exposure import equalize_adapthist, match_histograms
        from skimage.transform import resize

        image = stored.astype(np.float64)
        image = (image - image.min()) / (image.max() - image.min())
        reference = np.load(WEIGHTS.parents[1] / "pipeline" / "reference.npy").astype(np.float64)
        equalised = equalize_adapthist(match_histograms(image, reference[None, :]))
        small = resize(image, (LUNG_SIDE, LUNG_SIDE))
        lungs = self._lungs.predict(small[None, ..., None], verbose=0)[0, ..., 0] > 0.5
        rows, columns = np.nonzero(resize(lungs.astype(float), image.shape) > 0.5)
        cut = equalised[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] if rows.size else equalised
        found = self._classifier.predict(resize(cut, (SIDE, SIDE))[None, ..., None], verbose=0)
        probabilities = found[0] if isinstance(found, list) else found
        heat = resize(lungs.astype(float) * float(probabilities[0, 1]), image.shape)
        colour = matplotlib.colormaps["plasma"](heat)[..., :3]
        blended = 0.6 * image[..., None] + 0.4 * colour
        return (255 * blended).astype(np.uint8), float(probabilities[0, 1])

    def _send(self, *results: Dataset) -> None:
        title, host, port = self._pacs
        entity = AE(ae_title="NAIVE")
        for result in results:
            entity.add_requested_context(result.SOPClassUID, ExplicitVRLittleEndian)
        association = entity.associate(host, port, ae_title=title)
        for result in results:
            association.send_c_store(result)
        association.release()


def secondary_capture(source: Dataset, overlay: Any) -> Dataset:
    """The overlay as an object of the study of `source`."""
    result = _result(source, SecondaryCaptureImageStorage, "OT")
    result.ConversionType = "WSD"
    result.Rows, result.Columns = overlay.shape[:2]
    result.SamplesPerPixel, result.PhotometricInterpretation, result.PlanarConfiguration = 3, "RGB", 0
    result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation = 8, 8, 7, 0
    result.PixelData = overlay.tobytes()
    return result


def report(source: Dataset, score: float) -> Dataset:
    """The score as a report of one sentence."""
    result = _result(source, Comprehensive3DSRStorage, "SR")
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", f"Score {score:.3f}"
    text.ConceptNameCodeSequence = [_code("121077", "DCM", "Conclusion")]
    result.ValueType, result.ContinuityOfContent = "CONTAINER", "SEPARATE"
    result.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    result.CompletionFlag, result.VerificationFlag = "COMPLETE", "UNVERIFIED"
    result.ContentSequence = [text]
    return result


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _result(source: Dataset, sop_class: str, modality: str) -> Dataset:
    result = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"):
        setattr(result, keyword, source.get(keyword, ""))
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
        setattr(result, keyword, source.get(keyword, ""))
    result.SOPClassUID, result.SOPInstanceUID, result.SeriesInstanceUID = sop_class, generate_uid(), generate_uid()
    result.Modality, result.SeriesNumber, result.InstanceNumber = modality, 1, 1
    result.file_meta = FileMetaDataset()
    result.file_meta.MediaStorageSOPClassUID, result.file_meta.MediaStorageSOPInstanceUID = (
        result.SOPClassUID,
        result.SOPInstanceUID,
    )
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result


def main() -> None:
    """Serve until the end of the process."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    reader = Reader(sys.argv[3]) if len(sys.argv) > 3 else None

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        if reader is not None:
            reader.waiting.put(dataset)
        return 0x0000

    entity = AE(ae_title="NAIVE")
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    entity.maximum_associations = 100
    entity.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main()
