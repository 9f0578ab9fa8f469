//! How gossipsub is set up for a lane. Each setting that bites is explained where it is set.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use libp2p::gossipsub::{
    AllowAllSubscriptionFilter, Behaviour, Config, ConfigBuilder, IdentTopic, IdentityTransform,
    MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicHash, TopicScoreParams, ValidationMode,
};

use crate::engine::lane::Topic;

/// gossipsub with a bound on the topics that a peer may name.
pub(super) type Gossip = Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Up to this many members everybody publishes straight to everybody.
const SMALL_GROUP: usize = 16;
/// More than a large frame with gossipsub's own header: libp2p-gossipsub 0.50 holds everything that has been read and
/// not yet decoded, up to one message and 8 KiB of the next ones, against this limit, and a burst of large frames over
/// it would end the peer's stream for good.
const TRANSMIT_MAX: usize = 64 * 1024;
/// Topics one peer may follow. A member follows two or three: yesterday's, today's, tomorrow's.
const TOPICS_MAX: usize = 32;

/// The settings for a group of `members` did not pass gossipsub's own checks.
#[derive(Debug, thiserror::Error)]
#[error("gossip settings refused")]
pub(super) struct BadSettings;

/// A message's id: 20 bytes of BLAKE3 over topic and data. gossipsub's default names author and sequence
/// number, and anonymous messages have neither: all would share one id, and all but the first be dropped.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&message.data);
    let mut id = [0; 20];
    hasher.finalize_xof().fill(&mut id);
    MessageId::new(&id)
}

fn config(members: usize) -> Result<Config, BadSettings> {
    let small = members <= SMALL_GROUP;
    let (mesh_n, low, high, outbound) = if small { (4, 3, 8, 1) } else { (6, 4, 10, 2) };
    let mut builder = ConfigBuilder::default();
    builder
        // Protocol ids stay the default ones: any own id offers only versions 1.1 and 1.0, without IDONTWANT.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(message_id)
        // Nothing is forwarded before the engine has opened its seal.
        .validate_messages()
        .max_transmit_size(TRANSMIT_MAX)
        .mesh_n(mesh_n)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(outbound)
        .gossip_lazy(mesh_n)
        .gossip_factor(0.25)
        // In a small group each message takes one hop, whatever the mesh looks like at that moment.
        .flood_publish(small)
        // The default waits five seconds before the first heartbeat, and only a heartbeat fills up a mesh.
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_secs(1))
        .history_length(24)
        .history_gossip(12)
        .duplicate_cache_time(Duration::from_secs(600))
        .iwant_followup_time(Duration::from_secs(15))
        // The defaults drop a queued message after five seconds, a forwarded one after one.
        .publish_queue_duration(Duration::from_secs(60))
        .forward_queue_duration(Duration::from_secs(30))
        // The default of 5,000 lets a stuck peer hold hundreds of megabytes. A small group's queue takes a
        // burst of a thousand messages whole; what does not fit closes the link, and sync repairs.
        .connection_handler_queue_len(if small { 2_048 } else { 512 })
        .max_publish_messages(64);
    builder.build().map_err(|_| BadSettings)
}

/// Only invalid messages (P4) cost a peer its standing. Rates of delivery (P3) mean nothing in a quiet group,
/// members of one household share an address (P6), and a slow member is not a hostile one.
fn scores() -> (PeerScoreParams, PeerScoreThresholds) {
    let params = PeerScoreParams {
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        // A graft within the backoff happens on every busy start; only a series of them counts.
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -20.0,
        publish_threshold: -40.0,
        graylist_threshold: -80.0,
        ..PeerScoreThresholds::default()
    };
    (params, thresholds)
}

/// The score parameters of every topic: see [`scores`].
pub(super) fn topic_scores() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    }
}

/// gossipsub for a group of `members`. Messages carry no author, key or signature.
pub(super) fn behaviour(members: usize) -> Result<Gossip, BadSettings> {
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS_MAX,
        max_subscriptions_per_request: TOPICS_MAX,
    };
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config(members)?, filter)
        .map_err(|_| BadSettings)?;
    let (params, thresholds) = scores();
    gossip.with_peer_score(params, thresholds).map_err(|_| BadSettings)?;
    Ok(gossip)
}

/// A topic's name on the wire.
pub(super) fn ident(topic: &Topic) -> IdentTopic {
    IdentTopic::new(BASE64URL_NOPAD.encode(topic))
}

/// The topic of a name on the wire.
pub(super) fn topic_of(name: &TopicHash) -> Option<Topic> {
    BASE64URL_NOPAD.decode(name.as_str().as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use hearth_protocol::limits::FRAME_LARGE;

    use super::*;

    #[test]
    fn the_settings_that_bite() {
        for members in [2, 16, 17, 10_000] {
            let config = config(members).unwrap();
            assert!(config.validate_messages());
            assert_eq!(config.flood_publish(), members <= 16);
            // A large frame with its header, and what one read may add to it before it is decoded.
            assert!(config.max_transmit_size() >= FRAME_LARGE + 1_024 + 8 * 1_024);
            assert!(config.heartbeat_initial_delay() < Duration::from_secs(1));
            assert!(config.publish_queue_duration() >= Duration::from_secs(60));
            assert!(!config.do_px());
        }
        let (params, thresholds) = scores();
        params.validate().unwrap();
        thresholds.validate().unwrap();
        topic_scores().validate().unwrap();
        assert!(params.ip_colocation_factor_weight.abs() < f64::EPSILON, "a household shares an address");
    }

    #[test]
    fn anonymous_messages_differ_by_topic_and_data() {
        let message = |topic: Topic, data: &[u8]| Message {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: ident(&topic).hash(),
        };
        let id = message_id(&message([1; 16], b"a"));
        assert_eq!(id.0.len(), 20);
        assert_eq!(id, message_id(&message([1; 16], b"a")));
        assert_ne!(id, message_id(&message([1; 16], b"b")));
        assert_ne!(id, message_id(&message([2; 16], b"a")));
        assert_eq!(topic_of(&ident(&[9; 16]).hash()), Some([9; 16]));
        assert_eq!(topic_of(&TopicHash::from_raw("elsewhere")), None);
    }
}
