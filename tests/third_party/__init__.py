"""Events from other libraries' models; ``make third-party`` installs the libraries and runs these tests."""
