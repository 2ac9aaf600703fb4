"""What tests share: real servers, real clients, and plugins made for the occasion."""
