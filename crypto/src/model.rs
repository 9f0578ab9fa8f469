//! A symbolic MLS.

#[cfg(test)]
pub(crate) mod suite;
