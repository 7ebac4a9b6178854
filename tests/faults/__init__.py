"""Programs and injections for the tests of faults."""
