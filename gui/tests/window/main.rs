//! The window over a node that exists only in memory: found and used by label, as a screen reader does.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside #[test] functions")]

#[path = "../../examples/gallery/fake.rs"]
mod fake;
#[path = "../../examples/gallery/sample.rs"]
mod sample;

mod desk;
mod flows;
mod keyboard;
mod knocks;
mod privacy;
mod slips;
mod timeline;
