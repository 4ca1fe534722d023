"""Facts about the platform and the settings of one organisation: values and rules, no HTTP and no Django."""
