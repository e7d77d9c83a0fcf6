"""Whose a file is and who asks, for messages about permission that is missing. POSIX users; changes nothing."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def permission_wanted(path: Path) -> str:
    """Why this process may not use a file, and the remedy. Where it cannot even be seen, the folder above it that can
    be seen is what stands in the way."""
    me = _name(os.geteuid())
    for place in (path, *path.absolute().parents):
        try:
            found = place.stat()
        except OSError:
            continue
        owner, what = _name(found.st_uid), f"{place} (mode {found.st_mode & 0o7777:04o})"
        if found.st_uid == os.geteuid():
            return f"{what} belongs to {me}, who runs this, but its mode forbids it: chmod u+rwX {place}"
        return (
            f"{what} belongs to {owner}, and {me} runs this: run it as {owner} (sudo -u {owner} …), or give the file "
            f"to {me} (chown {me} …)"
        )
    return f"{me} runs this, who may see nothing of that path"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
