"""What a failed call leaves in the log: one line, and not as many as somebody likes to cause."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


_LOGGER = "uvicorn.error"


class OneLine(logging.Filter):
    """Takes the traceback off a record: it says nothing to whoever runs the app, and a visitor can cause it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record, and lets it pass."""
        if record.exc_info and record.exc_info[0] is not None:
            record.msg, record.args = "A call failed: %s", (record.exc_info[0].__name__,)
            record.exc_info = record.exc_text = None
        return True


@contextmanager
def one_line_a_failure() -> Iterator[None]:
    """Keeps tracebacks of calls out of the server's log while the block runs."""
    found, logger = OneLine(), logging.getLogger(_LOGGER)
    logger.addFilter(found)
    try:
        yield
    finally:
        logger.removeFilter(found)
