//! The disk tier: a ring of segments with checksummed records and an index in memory.
