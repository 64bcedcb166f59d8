//! The memory tier: whole small responses, weighed in bytes.
