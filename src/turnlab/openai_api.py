"""The OpenAI API and servers that speak it: clients, errors, usage."""
