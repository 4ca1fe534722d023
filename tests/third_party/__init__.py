"""Events from models of other libraries; ``make third-party`` installs the libraries and runs these tests."""
