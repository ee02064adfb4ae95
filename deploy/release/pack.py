"""Packs a folder so that the same files give the same bytes.

pack.py FOLDER OUT GOOS writes OUT/FOLDER.tar.gz, or .zip for windows: entries
in the order of their names, all from SOURCE_DATE_EPOCH, owned by nobody.
"""

import gzip
import os
import sys
import tarfile
import time
import zipfile


def mode(path: str) -> int:
    return 0o755 if os.access(path, os.X_OK) else 0o644


def main() -> None:
    folder, out, goos = sys.argv[1:]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    base = os.path.basename(folder)
    paths = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    files = [(f"{base}/{os.path.relpath(path, folder)}".replace(os.sep, "/"), path) for path in paths]
    if goos == "windows":
        with zipfile.ZipFile(os.path.join(out, base + ".zip"), "w") as archive:
            for name, path in files:
                entry = zipfile.ZipInfo(name, time.gmtime(max(epoch, 315532800))[:6])
                entry.create_system, entry.external_attr = 3, mode(path) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                with open(path, "rb") as data:
                    archive.writestr(entry, data.read(), compresslevel=9)
        return
    with (
        open(os.path.join(out, base + ".tar.gz"), "wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, epoch) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = os.path.getsize(path), epoch, mode(path)
            with open(path, "rb") as data:
                archive.addfile(entry, data)


main()
