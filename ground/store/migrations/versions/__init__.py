"""One script for each released change of the tables, run in order and never changed afterwards."""
