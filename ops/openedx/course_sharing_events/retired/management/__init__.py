"""For the operator, on the command line."""
