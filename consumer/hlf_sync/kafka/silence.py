"""Where librdkafka's own log lines go: nowhere. They may quote addresses, and stop it where nobody
reads them; our lines say what happened. Its fatal ones ignore `log_level`.
"""


class Silence:
    """A logger that says nothing."""

    def log(self, *_: object, **__: object) -> None:
        """Say nothing."""
