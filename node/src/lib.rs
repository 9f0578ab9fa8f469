//! Hearth without a window: the engine and everything around it that touches disk, time and network.

pub mod agent;
pub mod app;
pub mod builder;
pub mod cli;
pub mod clock;
pub mod doctor;
pub mod driver;
pub mod engine;
pub mod net;
pub mod relay;
pub mod store;
