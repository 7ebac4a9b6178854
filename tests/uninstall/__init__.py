"""The child process of `test_uninstall`: what it compares, the situations, and dynamo's tables."""
