import sys
import unittest

sys.path.insert(0, "/app")

from ttlcache import TTLCache


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class HiddenTest(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        self.cache = TTLCache(maxsize=3, ttl=10, clock=self.clock)

    def test_len_and_in_see_only_live_entries(self):
        self.cache.set("a", 1)
        self.cache.set("b", 2, ttl=30)
        self.clock.now = 10
        self.assertEqual(len(self.cache), 1)
        self.assertNotIn("a", self.cache)
        self.assertIn("b", self.cache)

    def test_the_expired_entry_makes_room_when_it_is_the_oldest(self):
        self.cache.set("old", 0)
        self.clock.now = 5
        self.cache.set("a", 1)
        self.cache.set("b", 2)
        self.clock.now = 11
        self.cache.set("c", 3)
        self.assertEqual([self.cache.get(k) for k in "abc"], [1, 2, 3])

    def test_a_short_lived_entry_behind_a_live_one_makes_room(self):
        self.cache.set("long", 1, ttl=100)
        self.cache.set("token", 2, ttl=1)
        self.cache.set("other", 3, ttl=100)
        self.clock.now = 2
        self.cache.set("new", 4)
        self.assertEqual(self.cache.get("long"), 1)
        self.assertEqual(self.cache.get("other"), 3)
        self.assertEqual(self.cache.get("new"), 4)

    def test_all_live_drops_the_one_set_longest_ago(self):
        for key in "abc":
            self.cache.set(key, key)
        self.cache.set("a", "again")
        self.cache.set("d", "d")
        self.assertNotIn("b", self.cache)
        self.assertEqual(self.cache.get("a"), "again")

    def test_setting_a_key_again_drops_nothing(self):
        for key in "abc":
            self.cache.set(key, key)
        self.cache.set("b", "B")
        self.assertEqual([self.cache.get(k) for k in "abc"], ["a", "B", "c"])

    def test_bounded_when_only_written_to(self):
        for number in range(50):
            self.clock.now = number
            self.cache.set(number, number, ttl=1 + number % 7)
        self.assertLessEqual(len(self.cache), 3)
        self.assertEqual(self.cache.get(49), 49)

    def test_none_is_a_value(self):
        self.cache.set("n", None)
        self.assertIn("n", self.cache)
        self.assertIsNone(self.cache.get("n", default=1))


if __name__ == "__main__":
    unittest.main()
