//! `check` — jet9 check: validate documents, all problems at once.
