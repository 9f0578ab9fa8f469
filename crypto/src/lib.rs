//! Hearth's pure core. No IO, no clock: time and randomness come in as arguments (OpenMLS takes its own entropy).

pub mod envelope;
pub mod mls;
pub mod persona;
pub mod schedule;
pub mod seal;
