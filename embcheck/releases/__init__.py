"""The laws in many torch releases."""
