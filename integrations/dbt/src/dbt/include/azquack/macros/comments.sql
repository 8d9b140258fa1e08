{#- A comment is a literal, and DuckLake comments on columns of tables alone. -#}

{% macro azquack__alter_relation_comment(relation, comment) %}
  comment on {{ relation.type }} {{ relation }} is {{ adapter.quote_literal(comment) }}
{% endmacro %}

{% macro azquack__alter_column_comment(relation, column_dict) %}
  {% if relation.type != 'view' %}
    {% set present = adapter.get_columns_in_relation(relation) | map(attribute="name") | list %}
    {% for name, column in column_dict.items() if name in present %}
      comment on column {{ relation }}.{{ adapter.quote(name) }} is {{ adapter.quote_literal(column['description']) }};
    {% endfor %}
  {% endif %}
{% endmacro %}
