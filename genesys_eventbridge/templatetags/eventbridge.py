"""``{% load eventbridge %}``: numbers and times in templates, written as everywhere else."""

from django import template

from genesys_eventbridge import formatting

register = template.Library()
register.filter("exact", formatting.exact)
register.filter("number", formatting.number)
