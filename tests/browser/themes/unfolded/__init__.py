"""An app that gives our pages the look of django-unfold, as docs/admin.md explains."""
