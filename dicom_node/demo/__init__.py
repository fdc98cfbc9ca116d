"""The demonstration: a node and a PACS on this machine, real radiographs, and what comes back."""
