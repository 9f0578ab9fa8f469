//! PURE: the group state machine. `handle(input, now)` returns effects; the shell persists, then sends, then emits.

pub mod lane;
