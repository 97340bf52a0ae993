"""Language models that answer prompts: one protocol, two clients, and an answer cache in front of both."""
