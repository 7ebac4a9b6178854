"""Random programs that share memory, a plain model of what they do, and the guard's word held against it."""
