"""The DICOM conformance statement, written from the tables that the node itself uses."""
