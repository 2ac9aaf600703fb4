"""The server's log on standard error, for people or in JSON; who logs uses `logging` and knows nothing of it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from jackfield._call import Call, current
from jackfield._cli.terminal import clean, to_json
from jackfield._errors import StartError
from jackfield._settings import LogSettings

_MASK: Final = "***"
_SECRET: Final = re.compile(r"authorization|token|password|secret|cookie", re.IGNORECASE)
_IN_TEXT: Final = re.compile(
    r"""(?ix)
    ( (?: authorization | token (?! :\s+[a-z]+(?:\s|$) ) )  # a word after a colon is prose
        (?: ["']? \s* [:=] | ["'], ) \s* (?: b(?=["']) )? )
        (?: "[^"]*" | '[^']*' | (?: (?:bearer|basic|digest) \s+ )? [^\s"',;&})\]]+ )
    | ( \b bearer \s+ ) [\w.~+/=-]{16,}
    """
)
_PARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_PLAIN: Final = re.compile(r"[\w.:/@+-]+", re.ASCII)
_USUAL: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "call", "context", "event"}
)


class Context(logging.Filter):
    """Adds to each record the call in which it was made, and takes secrets out of its message.

    Args:
        call: Returns the call that runs here.

    Attributes:
        plugins: The plugin of each function; filled once they are known.
    """

    def __init__(self, call: Callable[[], Call | None] = current) -> None:
        super().__init__()
        self.plugins: Mapping[str, str] = {}
        self._call = call

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        call: Call | None = getattr(record, "call", None) or self._call()
        fields = {} if call is None else self._of(call)
        said = record.msg if isinstance(record.msg, dict) else {}  # from structlog
        record.msg, record.args = without_secrets(str(said.get("event", "")) if said else _message(record)), ()
        for name, value in {**vars(record), **said}.items():
            if name not in _USUAL and not name.startswith("_"):
                secret = _SECRET.search(name) is not None
                fields[name] = _MASK if secret else without_secrets(value) if isinstance(value, str) else value
        for name in ("_logger", "_name"):  # by which structlog would know the record as its own
            vars(record).pop(name, None)
        record.context = fields
        return True

    def _of(self, call: Call) -> dict[str, Any]:
        found = _PARENT.fullmatch(call.meta.get("traceparent", ""))
        fields = {
            "call": call.event,
            "id": call.id,
            "client": call.client.id if call.client is not None else None,
            "principal": call.principal.id if call.principal is not None else None,
            "plugin": self.plugins.get(call.event),
            "trace_id": found[1] if found and found[1].strip("0") else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def without_secrets(text: str) -> str:
    """Return text with `***` for what follows `Authorization` or `token`."""
    return _IN_TEXT.sub(lambda found: f"{found[1] or found[2]}{_MASK}", text)


def configure(
    settings: LogSettings, *, worker: bool = False, trace: Callable[[BaseException], str] | None = None
) -> Context:
    """Write what is logged in this process to standard error, in the format of the settings.

    Args:
        settings: `[log]`.
        worker: Whether this process is one of several, so that its lines say which.
        trace: Returns an exception's traceback for people; the whole of it if left out.

    Raises:
        StartError: JSON is wanted, and structlog is not installed.
    """
    context = Context()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(context)
    handler.setFormatter(_json() if _wants_json(settings) else _Console(trace, worker=worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    return context


def check(settings: LogSettings) -> None:
    """See whether a server could log as the settings say.

    Raises:
        StartError: It could not.
    """
    if _wants_json(settings):
        _json()


def _wants_json(settings: LogSettings) -> bool:
    return settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())


class _Console(logging.Formatter):
    """A line for people: when, how bad, who, what; then what is known of the call, and indented a traceback."""

    def __init__(self, trace: Callable[[BaseException], str] | None, *, worker: bool) -> None:
        super().__init__()
        self._trace = trace
        self._own = {"pid": os.getpid()} if worker else {}

    def format(self, record: logging.LogRecord) -> str:
        known = getattr(record, "context", {})
        fields = [f"{name}={_value(value)}" for name, value in {**self._own, **known}.items() if name != "error_id"]
        message = clean(record.getMessage()).replace("\n", "\\n")
        parts = [f"{_time(record)} {record.levelname:<7} {clean(record.name)}", message, " ".join(fields)]
        text = "  ".join(filter(None, parts))
        if record.exc_info:
            error = record.exc_info[1]
            if error is None or self._trace is None:
                trace = self.formatException(record.exc_info)
            else:
                trace = self._trace(error)
            trace = clean(without_secrets(trace))
            text += "".join(f"\n    {line}" for line in trace.splitlines())
        return text


def _json() -> logging.Formatter:
    try:
        from structlog.processors import JSONRenderer
        from structlog.stdlib import ProcessorFormatter
        from structlog.tracebacks import ExceptionDictTransformer
    except ImportError:
        raise StartError(
            ['log.format "json" needs structlog: pip install structlog, or "jackfield[standard]" (log.format)']
        ) from None

    exceptions = ExceptionDictTransformer(show_locals=False, max_frames=20)

    def describe(_: object, __: str, event: Any) -> Any:
        record: logging.LogRecord = event["_record"]
        info = event.get("exc_info")
        line: dict[str, Any] = {
            "timestamp": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event["event"],
            "pid": os.getpid(),
            **getattr(record, "context", {}),
        }
        if info and info[0] is not None:
            line["exception"] = _masked(exceptions(info))
        return line

    return ProcessorFormatter(processors=[describe, JSONRenderer(default=repr)])


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - arguments of a plugin, which may raise anything where they are shown
        return f"{record.msg} (its arguments do not fit: {type(error).__name__})"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else to_json(text)
