INSERT INTO orders (id, placed_on) VALUES (1, '2024-03-01'), (2, '2024-03-01'), (3, '2024-03-02');
INSERT INTO orders (id, placed_on, cancelled) VALUES (4, '2024-03-02', 1);

INSERT INTO order_items VALUES
    (1, 'tea', 2, 450), (1, 'mug', 1, 1200),
    (2, 'teapot', 1, 3900),
    (3, 'tea', 1, 450),
    (4, 'kettle', 1, 5900);

INSERT INTO payments VALUES
    (1, '2024-03-01', 'cash', 2100),
    (2, '2024-03-01', 'voucher', 1000), (2, '2024-03-01', 'card', 2900);
