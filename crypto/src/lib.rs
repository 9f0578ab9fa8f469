//! Hearth's pure core. No IO, no clock: time and randomness come in as arguments (OpenMLS takes its own entropy).

pub mod mls;
pub mod persona;
