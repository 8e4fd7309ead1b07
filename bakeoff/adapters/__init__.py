"""Everything that touches the outside, each file named after what it touches."""
