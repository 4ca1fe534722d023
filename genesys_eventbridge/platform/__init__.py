"""What is known of the platform and of one organisation on it: values and rules, without HTTP or Django."""
