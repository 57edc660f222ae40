#!/bin/bash
set -e
cat > /app/views.sql <<'SQL'
DROP VIEW IF EXISTS daily_totals;

-- One row a day: what was ordered, what was paid for it, what is still open.
-- Items and payments are added up for each order before they are joined: joined
-- directly, every item would meet every payment.
CREATE VIEW daily_totals AS
WITH per_order AS (
    SELECT
        o.placed_on,
        COALESCE((SELECT SUM(i.quantity * i.unit_cents) FROM order_items i WHERE i.order_id = o.id), 0) AS ordered,
        COALESCE((SELECT SUM(p.cents) FROM payments p WHERE p.order_id = o.id), 0) AS paid
    FROM orders o
    WHERE o.cancelled = 0
)
SELECT
    placed_on                   AS day,
    COUNT(*)                    AS orders,
    SUM(ordered)                AS ordered_cents,
    SUM(paid)                   AS paid_cents,
    SUM(ordered) - SUM(paid)    AS open_cents
FROM per_order
GROUP BY placed_on
ORDER BY placed_on;
SQL
cd /app && python3 tillbook.py report till.db
