"""The modules for other packages: metrics, health checks, and what is shipped for Prometheus and Grafana."""
