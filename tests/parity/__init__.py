"""The parity harness: the same training programs run bare and under the guard, held equal bit for bit."""
