"""What connects the app to other packages: Prometheus, django-health-check. Each module has an extra."""
