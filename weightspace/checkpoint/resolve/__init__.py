"""One file a way of storing weights as something else; `table` has them all."""
