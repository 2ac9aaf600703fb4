"""`python -m jackfield`, and the command `jackfield`."""

from __future__ import annotations

from jackfield._cli import main

if __name__ == "__main__":
    main()
