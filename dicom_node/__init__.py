"""The hospital side of the node: it knows DICOM, never a tensor."""

from importlib.metadata import version

__version__ = version("covid-xnet")
