{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='year',
          begin='2026-01-01') }}
select order_id, day::timestamp as day, amount from {{ ref('stg_orders') }}
