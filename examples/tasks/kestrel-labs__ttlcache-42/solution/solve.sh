#!/bin/bash
set -e
cd /app
python3 - <<'PY'
from pathlib import Path

path = Path("ttlcache.py")
text = path.read_text()
text = text.replace(
    """        if key not in self._entries and len(self._entries) >= self.maxsize:
            self._entries.popitem(last=False)
""",
    """        if key not in self._entries and len(self._entries) >= self.maxsize:
            self._drop_expired()
            if len(self._entries) >= self.maxsize:
                self._entries.popitem(last=False)
""",
)
text = text[: text.index("    def __len__")] + '''    def _drop_expired(self):
        # Entries may have lifetimes of their own, so insertion order says
        # nothing about which expire first: all are looked at.
        now = self._clock()
        for key in [k for k, (_, expires_at) in self._entries.items() if expires_at <= now]:
            del self._entries[key]

    def __len__(self):
        self._drop_expired()
        return len(self._entries)

    def __contains__(self, key):
        entry = self._entries.get(key)
        return entry is not None and entry[1] > self._clock()
'''
path.write_text(text)
PY
