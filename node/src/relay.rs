//! The volunteer's node.
