"""The science: it knows arrays, never a socket."""
