//! A fill: the detached fetch that stores what it may and feeds all its readers.
