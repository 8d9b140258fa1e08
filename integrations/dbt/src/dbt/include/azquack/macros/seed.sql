{#- The file lies with the client, so its rows go as VALUES. Each value is a text or NULL, which INSERT casts to the
    type of its column. -#}
{% macro azquack__load_csv_rows(model, agate_table) %}
  {% set columns = get_seed_column_quoted_csv(model, agate_table.column_names) %}
  {% set statements = [] %}
  {% for chunk in agate_table.rows | batch(get_batch_size()) %}
    {% set rows = [] %}
    {% for row in chunk %}
      {% do rows.append("(" ~ azquack__row(row) ~ ")") %}
    {% endfor %}
    {% set sql = "insert into " ~ this.render() ~ " (" ~ columns ~ ") values\n" ~ rows | join(",\n") %}
    {% do adapter.add_query(sql, abridge_sql_log=True) %}
    {% do statements.append(sql) %}
  {% endfor %}
  {{ return(statements[0] if statements else "") }}
{% endmacro %}

{% macro azquack__row(row) -%}
  {%- set values = [] -%}
  {%- for value in row -%}
    {%- do values.append(adapter.quote_literal(value)) -%}
  {%- endfor -%}
  {{ return(values | join(", ")) }}
{%- endmacro %}

{#- Rows in one statement: one commit, one file. -#}
{% macro azquack__get_batch_size() %}
  {{ return(10000) }}
{% endmacro %}
