"""The configuration file as commands write it: whole or not at all, and only what a server can read."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from jackfield._cli.terminal import fail
from jackfield._configuration import CONFIG_VARIABLE, DEFAULT_FILE, load
from jackfield._errors import StartError


def config_file(named: Path | None) -> Path:
    """Return the file that a server would read here, whether it is there or not."""
    return named or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)


def replace_config(file: Path, text: str) -> None:
    """Write a configuration file anew; end the command, with the old file as it was, if that cannot be.

    The text is read by the settings' loader first. The file's mode stays; a link stays one.
    """
    target = Path(os.path.realpath(file))
    try:
        with _beside(target) as draft:
            draft.write_text(text, encoding="utf-8", newline="")
            try:
                load(draft, environ={})
            except StartError as error:
                faults = (fault.replace(str(draft), str(file)) for fault in error.faults)
                fail([f"{file} is left as it is, because this would be wrong with it:", *faults])
            _take_after(target, draft)
            draft.replace(target)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield a new empty file in the same folder, and remove it if it is still there at the end."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    # What may not be read by others now is not to be read by them meanwhile.
    draft.touch(mode=0o600 if target.exists() else 0o666, exist_ok=False)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _take_after(target: Path, draft: Path) -> None:
    """Give the draft the mode and, as far as one may, the owner of the file that it replaces."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return
    draft.chmod(stat.S_IMODE(status.st_mode))
    with contextlib.suppress(PermissionError):
        os.chown(draft, status.st_uid, status.st_gid)
