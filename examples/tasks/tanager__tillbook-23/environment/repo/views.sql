DROP VIEW IF EXISTS daily_totals;

-- One row a day: what was ordered, what was paid for it, what is still open.
CREATE VIEW daily_totals AS
SELECT
    o.placed_on                                        AS day,
    COUNT(o.id)                                        AS orders,
    SUM(i.quantity * i.unit_cents)                     AS ordered_cents,
    SUM(p.cents)                                       AS paid_cents,
    SUM(i.quantity * i.unit_cents) - SUM(p.cents)      AS open_cents
FROM orders o
JOIN order_items i ON i.order_id = o.id
JOIN payments p ON p.order_id = o.id
WHERE o.cancelled = 0
GROUP BY o.placed_on
ORDER BY o.placed_on;
