"""``{% load eventbridge %}``: numbers, times and names in templates, written as everywhere else."""

from django import template

from genesys_eventbridge import formatting
from genesys_eventbridge.admin.badges import breakable

register = template.Library()
register.filter("breakable", breakable)
register.filter("exact", formatting.exact)
register.filter("number", formatting.number)
