"""How the science is proved: protocols, probes, and the report of both. Needs the extra `train`."""
