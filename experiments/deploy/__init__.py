"""A trained model on a microcontroller: sizes, speed and integers of its C code."""
