import sys
import unicodedata
import unittest

sys.path.insert(0, "/app")

from slugkit import slugify, unique_slug


class Accents(unittest.TestCase):
    TITLES = {
        "Crème brûlée": "creme-brulee",
        "Příliš žluťoučký kůň": "prilis-zlutoucky-kun",
        "ÉCOLE": "ecole",
    }

    def test_composed(self):
        for title, slug in self.TITLES.items():
            self.assertEqual(slugify(unicodedata.normalize("NFC", title)), slug)

    def test_decomposed(self):
        for title, slug in self.TITLES.items():
            self.assertEqual(slugify(unicodedata.normalize("NFD", title)), slug)


class Length(unittest.TestCase):
    def test_no_separator_at_the_end(self):
        self.assertEqual(slugify("red green blue", max_length=4), "red")
        self.assertEqual(slugify("red green blue", max_length=3), "red")
        self.assertEqual(slugify("red green blue", max_length=10, separator="_"), "red_green")

    def test_accents_before_the_cut(self):
        self.assertEqual(slugify("Crème brûlée", max_length=7), "creme-b")

    def test_numbered_slug_fits(self):
        self.assertEqual(unique_slug("red green", {"red-green"}, max_length=9), "red-gre-2")

    def test_two_digit_number_fits(self):
        taken = {"abcdef"} | {f"abcd-{n}" for n in range(2, 10)}
        self.assertEqual(unique_slug("abcdefgh", taken, max_length=6), "abc-10")

    def test_numbered_slug_has_one_separator(self):
        self.assertEqual(unique_slug("red green", {"red-gr"}, max_length=6), "red-2")


class Unchanged(unittest.TestCase):
    def test_ascii(self):
        self.assertEqual(slugify("Hello, World!"), "hello-world")
        self.assertEqual(slugify("--A  b--"), "a-b")
        self.assertEqual(slugify(""), "")

    def test_numbering(self):
        self.assertEqual(unique_slug("News", {"news", "news-2"}), "news-3")
        self.assertEqual(unique_slug("News", set()), "news")


if __name__ == "__main__":
    unittest.main()
