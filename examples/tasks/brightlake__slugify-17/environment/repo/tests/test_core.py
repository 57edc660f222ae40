import unittest

from slugkit import slugify, unique_slug


class SlugifyTest(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(slugify("Hello, World!"), "hello-world")

    def test_custom_separator(self):
        self.assertEqual(slugify("a b  c", separator="_"), "a_b_c")

    def test_unique_counts_up(self):
        taken = {"news", "news-2"}
        self.assertEqual(unique_slug("News", taken), "news-3")


if __name__ == "__main__":
    unittest.main()
