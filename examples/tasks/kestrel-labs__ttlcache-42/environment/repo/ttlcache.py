"""A bounded cache whose entries expire."""

import time
from collections import OrderedDict


class TTLCache:
    """Hold at most `maxsize` entries, each for `ttl` seconds."""

    def __init__(self, maxsize, ttl, clock=time.monotonic):
        if maxsize < 1:
            raise ValueError("maxsize must be at least 1")
        self.maxsize = maxsize
        self.ttl = ttl
        self._clock = clock
        self._entries = OrderedDict()  # key -> (value, expires_at)

    def set(self, key, value, ttl=None):
        """Store `value`; `ttl` overrides the cache's own for this entry."""
        expires_at = self._clock() + (self.ttl if ttl is None else ttl)
        if key not in self._entries and len(self._entries) >= self.maxsize:
            self._entries.popitem(last=False)
        self._entries[key] = (value, expires_at)
        self._entries.move_to_end(key)

    def get(self, key, default=None):
        """Return the value of `key`, or `default` when absent or expired."""
        try:
            value, expires_at = self._entries[key]
        except KeyError:
            return default
        if expires_at <= self._clock():
            return default
        return value

    def __len__(self):
        return len(self._entries)

    def __contains__(self, key):
        return key in self._entries
