"""The one exception that is a person's to fix."""


class UserError(Exception):
    """A person's mistake or a bad file.

    Its message is one sentence that says what is wrong, where, and what to do. The command line prints it and
    exits with status 2, without a traceback; every other exception is a bug and keeps its traceback.
    """
