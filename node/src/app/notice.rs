//! Notices: what happened by itself, as the program interface's `event` notifications.

use hearth_protocol::id::{GroupId, MessageId, PersonaId};
use serde::{Serialize, Serializer};

use super::{Delivery, GroupState, MessageRow, RelayState};

/// Something happened, and is on disk. The serde form is the notification's `params`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
#[allow(missing_docs, reason = "each variant and field is documented in the program interface it mirrors")]
pub enum Notice {
    #[serde(rename = "message.new")]
    MessageNew {
        group: GroupId,
        #[serde(flatten)]
        row: MessageRow,
    },
    #[serde(rename = "message.changed")]
    MessageChanged {
        group: GroupId,
        #[serde(flatten)]
        row: MessageRow,
    },
    #[serde(rename = "message.delivery")]
    MessageDelivery {
        group: GroupId,
        message: MessageId,
        state: Delivery,
        relays: usize,
        members_reached: usize,
        members_total: usize,
    },
    #[serde(rename = "group.joined")]
    GroupJoined { group: GroupId, persona: PersonaId },
    #[serde(rename = "group.changed")]
    GroupChanged { group: GroupId },
    #[serde(rename = "group.waiting")]
    GroupWaiting { group: GroupId },
    #[serde(rename = "group.removed")]
    GroupRemoved { group: GroupId, state: GroupState },
    #[serde(rename = "knock.new")]
    KnockNew { group: GroupId, persona: PersonaId },
    #[serde(rename = "member.changed")]
    MemberChanged { group: GroupId, persona: PersonaId },
    #[serde(rename = "network.changed")]
    NetworkChanged {
        group: Option<GroupId>,
        peers: usize,
        #[serde(serialize_with = "relay_rows")]
        relays: Vec<(String, RelayState)>,
    },
    #[serde(rename = "gap.found")]
    GapFound { group: GroupId, persona: PersonaId, missing: u64 },
    #[serde(rename = "fork.resolved")]
    ForkResolved { group: GroupId },
    #[serde(rename = "warning")]
    Warning { text: &'static str },
}

/// Relays as `status` lists them: an object for each.
fn relay_rows<S: Serializer>(relays: &[(String, RelayState)], s: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        address: &'a str,
        state: RelayState,
    }
    s.collect_seq(relays.iter().map(|(address, state)| Row { address, state: *state }))
}
