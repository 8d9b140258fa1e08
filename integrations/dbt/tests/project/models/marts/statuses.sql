{{ config(alias='Statuses, été', contract={'enforced': true}) }}
-- The text of a model may hold anything: '); DROP TABLE x; -- ? $1 "
select status, 'it''s ? $1 {} ;' as note, count(*) as orders /* ; */ from {{ ref('stg_orders') }} group by status
