//! The line, its ramp, and everybody who leaves it.
