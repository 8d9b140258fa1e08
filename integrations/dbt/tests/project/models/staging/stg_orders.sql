select id as order_id, customer_id, day, status, amount, paid from {{ ref('orders') }}
where day <= date '{{ var("until", "2026-01-02") }}'
