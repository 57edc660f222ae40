import sqlite3
import unittest
from pathlib import Path

SCHEMA = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, placed_on TEXT NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE order_items (order_id INTEGER NOT NULL, product TEXT NOT NULL, quantity INTEGER NOT NULL, unit_cents INTEGER NOT NULL);
CREATE TABLE payments (order_id INTEGER NOT NULL, paid_on TEXT NOT NULL, method TEXT NOT NULL, cents INTEGER NOT NULL);
"""


def totals(statements):
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    db.executescript(Path("/app/views.sql").read_text())
    # The report brings the views up to date each time: the file must run twice.
    db.executescript(Path("/app/views.sql").read_text())
    db.executescript(statements)
    cursor = db.execute("SELECT * FROM daily_totals ORDER BY day")
    return [column[0] for column in cursor.description], cursor.fetchall()


class DailyTotals(unittest.TestCase):
    def rows(self, statements):
        return totals(statements)[1]

    def test_columns(self):
        self.assertEqual(totals("")[0], ["day", "orders", "ordered_cents", "paid_cents", "open_cents"])

    def test_sample(self):
        sample = Path("/tests/sample.sql").read_text()
        self.assertEqual(self.rows(sample), [("2024-03-01", 2, 6000, 6000, 0), ("2024-03-02", 1, 450, 0, 450)])

    def test_items_times_payments(self):
        self.assertEqual(
            self.rows(
                "INSERT INTO orders VALUES (1, 'd', 0);"
                "INSERT INTO order_items VALUES (1, 'a', 1, 5), (1, 'a', 1, 5), (1, 'b', 3, 10);"
                "INSERT INTO payments VALUES (1, 'e', 'cash', 7), (1, 'e', 'cash', 7), (1, 'f', 'card', 20);"
            ),
            [("d", 1, 40, 34, 6)],
        )

    def test_order_without_items(self):
        self.assertEqual(
            self.rows("INSERT INTO orders VALUES (1, 'd', 0); INSERT INTO payments VALUES (1, 'd', 'cash', 9);"),
            [("d", 1, 0, 9, -9)],
        )

    def test_cancelled_orders_count_for_nothing(self):
        self.assertEqual(
            self.rows(
                "INSERT INTO orders VALUES (1, 'd', 1), (2, 'e', 0), (3, 'e', 1);"
                "INSERT INTO order_items VALUES (1, 'a', 1, 5), (2, 'a', 2, 5), (3, 'a', 3, 5);"
                "INSERT INTO payments VALUES (1, 'd', 'cash', 5), (3, 'e', 'cash', 15);"
            ),
            [("e", 1, 10, 0, 10)],
        )

    def test_paid_back(self):
        self.assertEqual(
            self.rows(
                "INSERT INTO orders VALUES (1, 'd', 0);"
                "INSERT INTO order_items VALUES (1, 'a', 1, 100);"
                "INSERT INTO payments VALUES (1, 'd', 'card', 100), (1, 'g', 'card', -30);"
            ),
            [("d", 1, 100, 70, 30)],
        )


if __name__ == "__main__":
    unittest.main()
