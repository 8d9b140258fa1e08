{{ config(materialized='incremental', incremental_strategy='append') }}
select order_id, day, '{{ var("until", "2026-01-02") }}' as run from {{ ref('stg_orders') }}
{% if is_incremental() %}
where day > (select max(day) from {{ this }})
{% endif %}
