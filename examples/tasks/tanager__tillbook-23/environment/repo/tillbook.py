"""Daily takings of a shop in one SQLite file."""

import sqlite3
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run_script(db, path):
    db.executescript(Path(path).read_text(encoding="utf-8"))


def report(db):
    run_script(db, HERE / "views.sql")
    columns = ["day", "orders", "ordered_cents", "paid_cents", "open_cents"]
    print("".join(f"{name:>15}" for name in columns))
    for row in db.execute(f"SELECT {', '.join(columns)} FROM daily_totals ORDER BY day"):
        print("".join(f"{value!s:>15}" for value in row))


def main(args):
    match args:
        case ["init", path]:
            Path(path).unlink(missing_ok=True)
            db = sqlite3.connect(path)
            run_script(db, HERE / "schema.sql")
            run_script(db, HERE / "views.sql")
        case ["load", path, statements]:
            db = sqlite3.connect(path)
            run_script(db, statements)
        case ["report", path]:
            db = sqlite3.connect(path)
            report(db)
        case _:
            print("usage: tillbook.py init DB | load DB FILE | report DB", file=sys.stderr)
            return 2
    db.commit()
    db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
