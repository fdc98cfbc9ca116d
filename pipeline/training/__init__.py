"""How the shipped networks are trained. Needs the extra `train`."""
