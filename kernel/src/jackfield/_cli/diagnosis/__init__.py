"""What `jackfield doctor` looks at, and what it finds."""
