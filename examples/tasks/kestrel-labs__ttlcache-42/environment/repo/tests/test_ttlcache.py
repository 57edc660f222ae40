import unittest

from ttlcache import TTLCache


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class TTLCacheTest(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        self.cache = TTLCache(maxsize=2, ttl=10, clock=self.clock)

    def test_get_returns_what_was_set(self):
        self.cache.set("a", 1)
        self.assertEqual(self.cache.get("a"), 1)

    def test_expired_entries_are_absent(self):
        self.cache.set("a", 1)
        self.clock.now = 10
        self.assertIsNone(self.cache.get("a"))

    def test_oldest_entry_makes_room(self):
        for key in "abc":
            self.cache.set(key, key)
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(self.cache.get("c"), "c")


if __name__ == "__main__":
    unittest.main()
