//! Judging commits.
