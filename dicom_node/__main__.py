"""`python -m dicom_node` is `covid-xnet`."""

from dicom_node.cli import main

main()
