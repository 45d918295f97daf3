"""The one error that a user is meant to read."""


class RlvrError(Exception):
    """Something the user can mend. The message is one line; no traceback is shown for it."""
