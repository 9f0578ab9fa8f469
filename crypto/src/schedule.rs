//! The key schedule of a network: what two exporter outputs of one node become (SPEC.md, "Networks").
//!
//! `NS` is the network secret of a day, `control` never changes within the network. Everything that an outsider
//! can see (topic, queue, slot, record) derives from one of them, so it changes with the network and says nothing.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hearth_protocol::{
    card::slot_of,
    door::NetworkKeys,
    id::{DeviceId, NodeId, OpId, QueueId, SlotId, hash},
    mailbox::{Action, QueueKind, queue_id},
    time::{Day, Timestamp},
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    hpke::{self, HpkeError},
    memo,
    mls::{MlsError, MlsNode},
};

/// Exporter label of a network's first secret.
pub const NET_LABEL: &str = "hearth net/1";
/// Exporter label of a network's control secret.
pub const CONTROL_LABEL: &str = "hearth control/1";
/// Exporter label of a door body's key.
pub const DOOR_LABEL: &str = "hearth door/1";
/// Exporter label of the key under which members hand envelopes on.
pub const SHARE_LABEL: &str = "hearth share/1";
/// Days that a secret is rolled forward at most: beyond, the rejoin link is the way back.
const MAX_ROLL: u64 = 400;

/// A 32-byte secret that wipes itself.
pub type Key = Zeroizing<[u8; 32]>;

/// An Ed25519 key pair, derived once and passed on: deriving costs as much as signing.
pub type Signer = Arc<SigningKey>;

/// HKDF-Expand (SHA-256) of a uniform secret: label, then context.
#[must_use]
pub fn derive(secret: &[u8; 32], label: &str, context: &[&[u8]]) -> Key {
    let mut out = Zeroizing::new([0u8; 32]);
    let info = [label.as_bytes(), &[0], &context.concat()].concat();
    // 32 bytes of output and a 32-byte key are always within HKDF's bounds.
    if let Ok(kdf) = Hkdf::<Sha256>::from_prk(secret) {
        let _ = kdf.expand(&info, out.as_mut());
    }
    out
}

/// A network's secrets as a member holds them.
#[derive(Clone, PartialEq, Eq)]
pub struct Network {
    keys: NetworkKeys,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("id", &self.keys.network).finish_non_exhaustive()
    }
}

/// The keys of one queue at one relay.
#[derive(Clone)]
pub struct QueueKeys {
    /// Its id.
    pub id: QueueId,
    /// Its kind.
    pub kind: QueueKind,
    /// Signs PUT.
    pub write: Signer,
    /// Signs GET and SUBSCRIBE.
    pub read: Signer,
    /// Seals its frames.
    pub seal: Key,
}

impl QueueKeys {
    /// The request that makes it; the shell solves its proof of work.
    #[must_use]
    pub fn create(&self) -> Action {
        let (write_pk, read_pk) = (self.write.verifying_key().to_bytes(), self.read.verifying_key().to_bytes());
        Action::Create { write_pk, read_pk, kind: self.kind, pow: 0 }
    }
}

/// The keys of one slot at one relay.
#[derive(Clone)]
pub struct SlotKeys {
    /// Its id.
    pub id: SlotId,
    seed: Key,
}

impl SlotKeys {
    /// Signs writes; derived anew at each call, as most looks at a slot only read.
    #[must_use]
    pub fn write(&self) -> Signer {
        signer(&self.seed)
    }
}

fn signer(seed: &Key) -> Signer {
    memo::signer(seed, || Signer::new(SigningKey::from_bytes(seed)))
}

impl Network {
    /// The network that `node` begins.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`] when the node's secrets are not held.
    pub fn begin<N: MlsNode>(node: &N) -> Result<Self, MlsError> {
        let facts = node.facts();
        Ok(Self {
            keys: NetworkKeys {
                network: facts.node,
                day: Day(facts.binding.first_day),
                secret: node.export(NET_LABEL, b"")?,
                control: node.export(CONTROL_LABEL, b"")?,
            },
        })
    }

    /// A network whose keys came with a door, a Welcome, or from disk.
    #[must_use]
    pub fn from_keys(keys: NetworkKeys) -> Self {
        Self { keys }
    }

    /// Its keys from `day` on: what a joiner is given, what is kept on disk.
    #[must_use]
    pub fn keys_from(&self, day: Day) -> NetworkKeys {
        let day = day.max(self.keys.day);
        NetworkKeys { network: self.keys.network, day, secret: *self.secret(day), control: self.keys.control }
    }

    /// The node that began it.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.keys.network
    }

    /// The first day whose secret is held.
    #[must_use]
    pub fn first_day(&self) -> Day {
        self.keys.day
    }

    /// The secret of `day`; earlier days than the first held use the first.
    #[must_use]
    pub fn secret(&self, day: Day) -> Key {
        let mut secret = Zeroizing::new(self.keys.secret);
        for _ in 0..day.0.saturating_sub(self.keys.day.0).min(MAX_ROLL) {
            secret = derive(&secret, "day", &[]);
        }
        secret
    }

    /// The gate's pre-shared key.
    #[must_use]
    pub fn gate(&self) -> Key {
        derive(&self.keys.control, "gate", &[])
    }

    /// The gossip topic of `day`.
    #[must_use]
    pub fn topic(&self, day: Day) -> [u8; 16] {
        let mut topic = [0; 16];
        topic.copy_from_slice(&derive(&self.secret(day), "topic", &[])[..16]);
        topic
    }

    /// Seals gossip frames of `day`.
    #[must_use]
    pub fn wire(&self, day: Day) -> Key {
        derive(&self.secret(day), "wire", &[])
    }

    /// The queue of `day` at a relay.
    #[must_use]
    pub fn daily_queue(&self, day: Day, relay_key: &[u8; 32]) -> QueueKeys {
        queue(&self.secret(day), QueueKind::Daily, relay_key)
    }

    /// The control queue at a relay.
    #[must_use]
    pub fn control_queue(&self, relay_key: &[u8; 32]) -> QueueKeys {
        queue(&self.keys.control, QueueKind::Control, relay_key)
    }

    /// The slot of the door's body at a relay.
    #[must_use]
    pub fn door_slot(&self, relay_key: &[u8; 32]) -> SlotKeys {
        let seed = derive(&self.keys.control, "door write", &[relay_key]);
        SlotKeys { id: SlotId(*derive(&self.keys.control, "door slot", &[relay_key])), seed }
    }

    /// Seed of the HPKE key that knocks at an invite are sealed to.
    #[must_use]
    pub fn knock_seed(&self, invite: &OpId) -> Key {
        derive(&self.keys.control, "knock", &[&invite.0])
    }

    /// The queue at a relay that knocks at an invite go into. Nothing in it has the outer seal.
    ///
    /// # Errors
    /// [`HpkeError::Library`].
    pub fn knock_queue(&self, invite: &OpId, relay_key: &[u8; 32]) -> Result<QueueKeys, HpkeError> {
        let knock_pk = hpke::public_key(&self.knock_seed(invite))?;
        let part = |label: &str| derive(&self.keys.control, label, &[&invite.0, relay_key]);
        let keys = (knock_write(&knock_pk, relay_key), signer(&part("knock read")));
        Ok(queue_of(keys, QueueKind::Control, part("knock seal")))
    }

    /// The slot of an invite's wrapper at a relay: its id follows from the invite, its write key is the members'.
    #[must_use]
    pub fn wrapper_slot(&self, invite: &OpId, join_pk: &[u8; 32], relay_key: &[u8; 32]) -> SlotKeys {
        let seed = derive(&self.keys.control, "wrapper write", &[&invite.0, relay_key]);
        SlotKeys { id: wrapper_slot_id(join_pk, relay_key), seed }
    }

    /// The slot by which members who must come in again find the door.
    #[must_use]
    pub fn rejoin_slot(&self, relay_key: &[u8; 32]) -> SlotKeys {
        let seed = derive(&self.keys.control, "rejoin write", &[relay_key]);
        SlotKeys { id: SlotId(*derive(&self.keys.control, "rejoin slot", &[relay_key])), seed }
    }

    /// Seals what that slot holds.
    #[must_use]
    pub fn rejoin_key(&self) -> Key {
        derive(&self.keys.control, "rejoin seal", &[])
    }

    /// Signs a device's DHT record in a slot of six hours.
    #[must_use]
    pub fn record_signer(&self, slot: u64, device: &DeviceId) -> Signer {
        signer(&derive(&self.rendezvous(slot), "record", &[&slot.to_be_bytes(), &device.0]))
    }

    /// Seals cards of a slot of six hours.
    #[must_use]
    pub fn card_key(&self, slot: u64) -> Key {
        derive(&self.rendezvous(slot), "card", &[&slot.to_be_bytes()])
    }

    fn rendezvous(&self, slot: u64) -> Key {
        derive(&self.secret(Day(slot / 4)), "rendezvous", &[])
    }
}

/// The slots whose records are worth looking up now: this one and the one before.
#[must_use]
pub fn live_slots(now: Timestamp) -> [u64; 2] {
    let slot = slot_of(now);
    [slot, slot.saturating_sub(1)]
}

/// Where an invite's wrapper lies at a relay.
#[must_use]
pub fn wrapper_slot_id(join_pk: &[u8; 32], relay_key: &[u8; 32]) -> SlotId {
    SlotId(hash(&[b"hearth wrapper/1", join_pk, relay_key]))
}

/// Write key of the queue at a relay that knocks go into: whoever is told the knock key may write, and only write.
#[must_use]
pub fn knock_write(knock_pk: &[u8; 32], relay_key: &[u8; 32]) -> Signer {
    signer(&derive(knock_pk, "knock write", &[relay_key]))
}

/// The queue at a relay that a knock's answer comes back in.
#[must_use]
pub fn answer_queue(answer: &[u8; 32], relay_key: &[u8; 32]) -> QueueKeys {
    queue(answer, QueueKind::Control, relay_key)
}

fn queue(secret: &[u8; 32], kind: QueueKind, relay_key: &[u8; 32]) -> QueueKeys {
    let part = |label: &str| derive(secret, label, &[relay_key]);
    queue_of((signer(&part("queue write")), signer(&part("queue read"))), kind, part("queue seal"))
}

fn queue_of((write, read): (Signer, Signer), kind: QueueKind, seal: Key) -> QueueKeys {
    let id = queue_id(write.verifying_key().as_bytes(), read.verifying_key().as_bytes(), kind);
    QueueKeys { id, kind, write, read, seal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(day: u64) -> Network {
        Network::from_keys(NetworkKeys { network: NodeId([1; 32]), day: Day(day), secret: [2; 32], control: [3; 32] })
    }

    #[test]
    fn days_roll_forward_only() {
        let n = network(10);
        let later = Network::from_keys(n.keys_from(Day(13)));
        assert_eq!(n.secret(Day(13)), later.secret(Day(13)));
        assert_eq!(n.topic(Day(20)), later.topic(Day(20)));
        assert_ne!(n.topic(Day(12)), later.topic(Day(12)), "a later joiner learns no earlier day");
        assert_eq!(n.secret(Day(9)), n.secret(Day(10)));
        assert_eq!(n.gate(), later.gate());
    }

    #[test]
    fn who_knocks_may_write_and_not_read() {
        let (n, invite, relay) = (network(10), OpId([4; 32]), [7; 32]);
        let queue = n.knock_queue(&invite, &relay).unwrap();
        let told = hpke::public_key(&n.knock_seed(&invite)).unwrap();
        assert_eq!(knock_write(&told, &relay), queue.write);
        assert_ne!(queue.read, queue.write);
        assert_ne!(queue.id, n.knock_queue(&invite, &[8; 32]).unwrap().id);
        assert_ne!(queue.id, n.knock_queue(&OpId([5; 32]), &relay).unwrap().id);
        assert_ne!(answer_queue(&[1; 32], &relay).id, answer_queue(&[1; 32], &[8; 32]).id);
    }

    #[test]
    fn relays_cannot_compare_notes() {
        let n = network(10);
        let (a, b) = (n.daily_queue(Day(10), &[7; 32]), n.daily_queue(Day(10), &[8; 32]));
        assert_ne!(a.id, b.id);
        assert_ne!(a.seal, b.seal);
        assert_ne!(n.door_slot(&[7; 32]).id, n.door_slot(&[8; 32]).id);
        assert_ne!(n.control_queue(&[7; 32]).id, n.daily_queue(Day(10), &[7; 32]).id);
    }
}
