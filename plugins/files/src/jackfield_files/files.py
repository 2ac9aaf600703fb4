"""All that is open while a server serves files: the storage, the uploads that run, and the broom."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Self

from jackfield_files.downloads import Downloads
from jackfield_files.messages import FilesSettings
from jackfield_files.storage import Storage
from jackfield_files.threads import in_thread
from jackfield_files.uploads import Uploads

log: Final = logging.getLogger(__name__)

_SELDOM: Final = 600.0
_OFTEN: Final = 1.0


class Files:
    """The files of one server, from `open` to `close`.

    Args:
        settings: The plugin's settings.
        storage: What they say, opened.
    """

    def __init__(self, settings: FilesSettings, storage: Storage) -> None:
        self.settings = settings
        self.storage = storage
        self.uploads = Uploads(storage, settings.max_size)
        self.downloads = Downloads(storage, settings.chunk)
        self._sweeping = asyncio.create_task(self._sweep(), name="files-sweep")

    @classmethod
    async def open(cls, settings: FilesSettings) -> Self:
        """Open the storage, and sweep it from time to time.

        Raises:
            OSError: The root cannot be made, or not be written.
        """
        return cls(settings, await in_thread(_open, settings))

    async def close(self) -> None:
        """End what runs, and give everything back."""
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])
        await in_thread(self.storage.close)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(max(self.settings.keep_partial / 4, _OFTEN), _SELDOM))
            try:
                await in_thread(self.storage.sweep)
            except OSError:
                log.exception("broken uploads could not be removed")


def _open(settings: FilesSettings) -> Storage:
    return Storage(settings.root, quota=settings.quota, keep=settings.keep_partial)
