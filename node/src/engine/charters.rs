//! What a new group agrees on before anybody wrote a charter of their own.

use crate::app::TemplateName;

const OPEN: &str = "Speak from your own life. Listen without fixing. What is said here stays here. \
     Peer support, not treatment: in danger, call your local emergency number.";
const RECOVERY: &str = "Every start counts, also the hundredth. No details of amounts or ways of using. Speak from \
     your own life. What is said here stays here. Peer support, not treatment: in danger, call your local emergency number.";
const ILLNESS: &str = "Share what helped you, never tell others what to take. Good days and bad days are welcome. \
     What is said here stays here. Peer support, not treatment: in danger, call your local emergency number.";
const CAREGIVERS: &str = "Caring is hard, and so is saying so. No judging of anybody's choices. Speak of the people \
     you care for as if they could hear you. What is said here stays here. Peer support, not treatment.";
const GRIEF: &str = "There is no timetable and no right way. Names of the dead are welcome here. Listen without \
     comforting too fast. What is said here stays here. Peer support, not treatment.";

/// The first charter of a group.
pub(crate) fn charter(template: Option<TemplateName>) -> &'static str {
    match template {
        None | Some(TemplateName::Open) => OPEN,
        Some(TemplateName::Recovery) => RECOVERY,
        Some(TemplateName::Illness) => ILLNESS,
        Some(TemplateName::Caregivers) => CAREGIVERS,
        Some(TemplateName::Grief) => GRIEF,
    }
}
