"""The error that ends a run, with one line for the operator."""


class Failure(Exception):
    """The run cannot continue; the text says why, in one line."""
