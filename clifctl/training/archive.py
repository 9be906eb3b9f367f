"""What an archive of torch says of its size, looked at before anything is made of it."""

import io
import struct
import zipfile

# Of a pickle every byte may take a hundred in memory; that of a ResNet-18 in training has 21 KB.
MOST_DESCRIPTION_BYTES = 8 * 2**20


def misfit(content: bytes) -> str | None:
    """Why more would be made of `content` than is in it, or why it is no archive of torch at all;
    None: it is one, and as large as it says. torch packs no record, and what describes the tensors
    is small."""
    if bytes(content[:4]) != b"PK\3\4":  # torch takes any other file for one of its older formats
        return "it is no archive of torch (the format before torch 1.6 is not read)"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
            if archive.start_dir != _directory_of(content):
                return "it has two directories"
    except Exception:
        # Broken bytes make zipfile raise anything.
        return "it is no archive of torch, or a damaged one"
    if any(record.file_size != record.compress_size for record in records):
        return "its records are packed, and may become of any size"
    if sum(record.file_size for record in records) > len(content):
        return "its records lie over each other"
    for record in records:
        # torch's reader finds a name in any case.
        if record.filename.lower().endswith(".pkl") and record.file_size > MOST_DESCRIPTION_BYTES:
            return f"'{record.filename}' has {record.file_size:,} bytes"
    return None


def _directory_of(content: bytes) -> int:
    """Where the directory of an archive is for torch's reader. Python's looks elsewhere when bytes
    stand before the archive, or inside of its end."""
    end = content.rfind(b"PK\5\6")
    locator = content[max(0, end - 20) : end]
    if locator.startswith(b"PK\6\7"):
        (record,) = struct.unpack_from("<Q", locator, 8)
        if record != end - 20 - 56:
            return -1
        return int(struct.unpack_from("<Q", content, record + 48)[0])
    return int(struct.unpack_from("<I", content, end + 16)[0])
