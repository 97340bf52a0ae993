"""The commands that query a finished run: each module adds its parser, gathers an answer, and prints it."""
