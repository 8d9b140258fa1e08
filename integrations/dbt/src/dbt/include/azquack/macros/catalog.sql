{% macro azquack__get_catalog(information_schema, schemas) -%}
  {% set wanted = [] %}
  {% for schema in schemas %}
    {% do wanted.append("lower(schema_name) = lower(" ~ adapter.quote_literal(schema) ~ ")") %}
  {% endfor %}
  {{ return(run_query(azquack__catalog_sql(information_schema, wanted))) }}
{%- endmacro %}

{% macro azquack__get_catalog_relations(information_schema, relations) -%}
  {% set wanted = [] %}
  {% for relation in relations %}
    {% do wanted.append(
      "(lower(schema_name) = lower(" ~ adapter.quote_literal(relation.schema) ~ ")"
      ~ (" and lower(table_name) = lower(" ~ adapter.quote_literal(relation.identifier) ~ ")" if relation.identifier else "")
      ~ ")"
    ) %}
  {% endfor %}
  {{ return(run_query(azquack__catalog_sql(information_schema, wanted))) }}
{%- endmacro %}

{#- `wanted` are conditions, of which a table or view has to meet one. -#}
{% macro azquack__catalog_sql(information_schema, wanted) -%}
  with relations as (
    select database_name, schema_name, table_name, 'BASE TABLE' as table_type, comment from duckdb_tables()
    union all
    select database_name, schema_name, view_name, 'VIEW', comment from duckdb_views()
  )
  select
    r.database_name as table_database,
    r.schema_name as table_schema,
    r.table_name as table_name,
    r.table_type as table_type,
    r.comment as table_comment,
    c.column_name as column_name,
    c.column_index as column_index,
    c.data_type as column_type,
    c.comment as column_comment,
    null as table_owner
  from relations r
  join duckdb_columns() c using (database_name, schema_name, table_name)
  where r.database_name = {{ adapter.quote_literal(information_schema.database) }}
    and ({{ wanted | join(' or ') if wanted else 'false' }})
  order by table_schema, table_name, column_index
{%- endmacro %}
