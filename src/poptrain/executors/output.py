"""Output: what members print, as the driver keeps it. One file a member, of limited size."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from poptrain.core.errors import PoptrainError
from poptrain.core.file_name import safe_name
from poptrain.log.disk import default as disk


class Output:
    """Appends what members print to their files, at most `LIMIT` bytes each; the file then notes that the rest is dropped.

    Args:
        directory: of the files; None keeps nothing.
    """

    LIMIT = 10 << 20

    def __init__(self, directory: Path | None):
        self._directory = directory
        self._sizes: dict[str, int] = {}
        self._headings: dict[str, str] = {}

    def write(self, name: str, data: bytes, heading: str = "") -> None:
        """Appends to the file of one member; a `heading` that differs from the last one is written first."""
        if self._directory is None or not data:
            return
        if heading and self._headings.get(name) != heading:
            self._headings[name] = heading
            data = f"-- {heading}\n".encode() + data
        with suppress(OSError, PoptrainError):  # a full disk is reported by the log: output never stops a run
            self._append(self._directory, f"{name}.log", data)

    def _append(self, directory: Path, name: str, data: bytes) -> None:
        path = directory / safe_name(name)
        if name not in self._sizes:
            disk.make_dir(directory)
            self._sizes[name] = disk.size(path) if disk.exists(path) else 0
        size = self._sizes[name]
        if size >= self.LIMIT:
            return
        if size + len(data) >= self.LIMIT:
            note = f"\n-- cut here: {self.LIMIT:,} bytes are kept of each member's output\n"
            data = data[: self.LIMIT - size] + note.encode()
        fd = disk.open_append(path, create=not disk.exists(path))
        try:
            disk.append(fd, data, path)
            self._sizes[name] = size + len(data)
        finally:
            disk.close(fd)
