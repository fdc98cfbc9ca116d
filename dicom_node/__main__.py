"""`python -m dicom_node` is `covid-xnet`."""

from dicom_node.cli import main

if __name__ == "__main__":
    main()
