"""The commands that ask a finished run: each module adds its parser, gathers an answer, and shows it."""
