//! Hearth's window: views over the node's façade, and nothing else of it. No network, no disk, no rules of the protocol.
//!
//! One direction: a view is a function of plain [`rows`] and a draft in [`state`], gives back [`state::Act`]s, [`app`] turns
//! them into façade commands; replies and notices go into the façade's `Model`, and rows are built from that.

pub mod app;
pub mod fonts;
pub mod names;
pub mod rows;
pub mod secret;
pub mod state;
pub mod strength;
pub mod text;
pub mod theme;
pub mod views;
pub mod widgets;

pub use app::{Looks, Options, Window};
