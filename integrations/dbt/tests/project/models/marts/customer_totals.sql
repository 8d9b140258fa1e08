{{ config(partitioned_by='city') }}
select c.customer_id, c.name, c.city, coalesce(sum(o.amount), 0)::decimal(12, 2) as spent, count(o.order_id) as orders
from {{ ref('stg_customers') }} c
left join {{ ref('paid_orders') }} o using (customer_id)
group by all
