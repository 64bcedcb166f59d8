//! `run` — jet9 run: the edge in the foreground.
