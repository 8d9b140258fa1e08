{{ config(materialized='incremental', incremental_strategy='merge', unique_key='order_id', on_schema_change='append_new_columns') }}
select order_id, status, amount
  {%- if var("until", "2026-01-02") > "2026-01-02" %}, day{% endif %}
from {{ ref('stg_orders') }}
