{#- What dbt-duckdb's macros ask of a DuckDB that holds several databases, asked of the lake alone. -#}

{% macro azquack__create_schema(relation) -%}
  {%- call statement('create_schema') -%}
    create schema if not exists {{ relation.without_identifier() }}
  {%- endcall -%}
{% endmacro %}

{% macro azquack__list_schemas(database) -%}
  {{ return(run_query(
    "select schema_name from information_schema.schemata where catalog_name = " ~ adapter.quote_literal(database)
  )) }}
{% endmacro %}

{% macro azquack__check_schema_exists(information_schema, schema) -%}
  {% set sql -%}
    select count(*) from information_schema.schemata
    where catalog_name = {{ adapter.quote_literal(information_schema.database) }}
      and lower(schema_name) = lower({{ adapter.quote_literal(schema) }})
  {%- endset %}
  {{ return(run_query(sql)) }}
{% endmacro %}

{% macro azquack__list_relations_without_caching(schema_relation) %}
  {% call statement('list_relations_without_caching', fetch_result=True) -%}
    select
      table_catalog as database,
      table_name as name,
      table_schema as schema,
      case table_type when 'VIEW' then 'view' else 'table' end as type
    from information_schema.tables
    where table_catalog = {{ adapter.quote_literal(schema_relation.database) }}
      and lower(table_schema) = lower({{ adapter.quote_literal(schema_relation.schema) }})
  {% endcall %}
  {{ return(load_result('list_relations_without_caching').table) }}
{% endmacro %}

{#- DuckLake has no CASCADE of tables and views. -#}
{% macro azquack__drop_relation(relation) -%}
  {% call statement('drop_relation', auto_begin=False) -%}
    drop {{ relation.type }} if exists {{ relation }}
  {%- endcall %}
{% endmacro %}

{#- ALTER TABLE refuses a view, so the word is that of what is there before. -#}
{% macro azquack__rename_relation(from_relation, to_relation) -%}
  {% call statement('rename_relation') -%}
    alter {{ from_relation.type }} {{ from_relation }} rename to {{ adapter.quote(to_relation.identifier) }}
  {%- endcall %}
{% endmacro %}
