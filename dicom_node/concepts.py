"""The only coded concepts that the node reads or writes, each with its source.

Those without a remark are in the code lists of PS3.16 that pydicom ships (context group in brackets); a test compares
them.
"""

from typing import Final

from pydicom.sr.coding import Code

# Projections (CID 4010, DX View).
POSTERO_ANTERIOR: Final = Code("272479007", "SCT", "postero-anterior")
ANTERO_POSTERIOR: Final = Code("399348003", "SCT", "antero-posterior")
LATERAL: Final = Code("399067008", "SCT", "lateral")

# Where and what.
CHEST: Final = Code("816094009", "SCT", "Chest")  # CID 4031
LUNG: Final = Code("39607008", "SCT", "Lung")  # CID 6100
PLAIN_CHEST_RADIOGRAPH: Final = Code("399208008", "SCT", "Plain chest X-ray")
"""SNOMED CT, |Plain X-ray of chest (procedure)|. Not in the lists of PS3.16: CID 100 is extensible and has no plain
radiography; HL7 FHIR examples of imaging studies use this code."""
ANATOMICAL_STRUCTURE: Final = Code("91723000", "SCT", "Anatomical Structure")  # CID 7150
RIGHT: Final = Code("24028007", "SCT", "Right")  # CID 244
LEFT: Final = Code("7771000", "SCT", "Left")  # CID 244
ABNORMAL_OPACITY: Final = Code("112033", "DCM", "Abnormal opacity")  # CID 6101

# The score and what it says.
CERTAINTY_OF_FINDING: Final = Code("111012", "DCM", "Certainty of Finding")  # CID 6048
PERCENT: Final = Code("%", "UCUM", "Percent")  # CID 7181
HAS_INTERPRETATION: Final = Code("363713009", "SCT", "Has interpretation")
POSITIVE: Final = Code("10828004", "SCT", "Positive")  # CID 250
NEGATIVE: Final = Code("260385009", "SCT", "Negative")  # CID 250
INDETERMINATE: Final = Code("82334004", "SCT", "Indeterminate")  # CID 4220

# The report and its parts.
IMAGING_MEASUREMENT_REPORT: Final = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
OF_INTEREST: Final = Code("113000", "DCM", "Of Interest")  # CID 7010
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""TID 1500, row 12. pydicom's lists hold no UMLS codes."""
PROCEDURE_REPORTED: Final = Code("121058", "DCM", "Procedure reported")
ENGLISH_AS_IN_THE_USA: Final = Code("en-US", "RFC5646", "English (United States)")
"""TID 1204, CID 5000, which is extensible; pydicom's lists hold none of RFC 5646."""
CONCLUSION: Final = Code("121077", "DCM", "Conclusion")  # CID 7002
COMMENT: Final = Code("121106", "DCM", "Comment")  # CID 12101
ILLUSTRATION_OF_FINDING: Final = Code("125201", "DCM", "Illustration of Finding")

# Who made it, and from what.
DEVICE: Final = Code("121007", "DCM", "Device")  # CID 270
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162
ACQUISITION_EQUIPMENT: Final = Code("109101", "DCM", "Acquisition Equipment")  # CID 7005
PROCESSING_EQUIPMENT: Final = Code("109102", "DCM", "Processing Equipment")  # CID 7005
SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")  # CID 7202

OUTSIDE_PYDICOM: Final = frozenset({PLAIN_CHEST_RADIOGRAPH, QUALITATIVE_EVALUATIONS, ENGLISH_AS_IN_THE_USA})
"""Concepts that the lists of pydicom do not hold."""
