"""The contract of plugins: written into wheels, read from anywhere, compared, and told in the words of others."""
