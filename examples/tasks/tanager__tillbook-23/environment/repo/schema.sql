CREATE TABLE orders (
    id        INTEGER PRIMARY KEY,
    placed_on TEXT NOT NULL,              -- YYYY-MM-DD
    cancelled INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE order_items (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    product    TEXT NOT NULL,
    quantity   INTEGER NOT NULL,
    unit_cents INTEGER NOT NULL
);

CREATE TABLE payments (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    paid_on  TEXT NOT NULL,
    method   TEXT NOT NULL,
    cents    INTEGER NOT NULL             -- negative: paid back
);
