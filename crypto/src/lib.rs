//! Hearth's pure core. No IO, no clock: time and randomness come in as arguments (OpenMLS takes its own entropy).

pub mod chain;
pub mod envelope;
pub mod hpke;
pub mod knock;
pub mod memo;
pub mod mls;
pub mod model;
pub mod openmls_port;
pub mod persona;
pub mod policy;
pub mod schedule;
pub mod seal;
pub mod select;
