"""The benchmark: jackfield beside its peers, in one run and in turn. `make bench` runs it."""
