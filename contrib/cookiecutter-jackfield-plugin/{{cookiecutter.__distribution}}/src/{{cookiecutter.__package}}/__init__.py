"""`{{ cookiecutter.namespace }}`: a plugin for jackfield."""

{% set hooks = ["jackfield_services"] %}
{% if cookiecutter.background %}{% set hooks = ["jackfield_health"] + hooks %}{% endif %}
{% if cookiecutter.settings %}{% set hooks = hooks + ["jackfield_settings"] %}{% endif %}
{% if cookiecutter.background %}{% set hooks = hooks + ["jackfield_shutdown", "jackfield_startup"] %}{% endif %}
{% if cookiecutter.background %}
from {{ cookiecutter.__package }}.plugin import (
{% for hook in hooks %}
    {{ hook }},
{% endfor %}
)

__all__ = [
{% for hook in hooks %}
    "{{ hook }}",
{% endfor %}
]
{% else %}
from {{ cookiecutter.__package }}.plugin import {{ hooks | join(", ") }}

__all__ = ["{{ hooks | join('", "') }}"]
{% endif %}
