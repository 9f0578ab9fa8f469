//! Whole-system tests: the simulator lab and, beside it, a harness of real processes.

pub mod sim;
