"""Describe the neurons of a language model in words found in a data set."""
