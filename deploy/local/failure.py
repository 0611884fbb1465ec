"""How a run can end badly: one line for people."""


class Failure(Exception):
    """The run cannot go on; its text says why, in one line."""
