use hearth_protocol::time::Timestamp;

use super::*;
use crate::app::{Join, MessageRow, Reactions, RoleName, Utc};

const G: GroupId = GroupId([1; 32]);
const YOU: PersonaId = PersonaId([9; 32]);
const OTHER: PersonaId = PersonaId([8; 32]);

fn id(n: u32) -> MessageId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    MessageId(bytes)
}

fn row(n: u32, persona: PersonaId, delivery: Delivery) -> MessageRow {
    MessageRow {
        message: id(n),
        persona,
        name: "Quiet Heron".into(),
        text: format!("message {n}"),
        topic: None,
        reply_to: None,
        content_note: None,
        sent_at: Utc(Timestamp(u64::from(n) * 60_000)),
        edited: false,
        retracted: false,
        reactions: Reactions::default(),
        delivery,
    }
}

struct Driver {
    model: Model,
    next: u64,
}

impl Driver {
    fn new() -> Self {
        let mut driver = Self { model: Model::new(), next: 1 };
        assert_eq!(driver.model.take_wants(), vec![Command::Status {}]);
        driver.reply(Command::VaultUnlock { passphrase: super::super::Secret::new("x".into()) }, Answer::Done {});
        driver.reply(Command::GroupList {}, Answer::Groups { groups: vec![group_row()] });
        driver.model.take_wants();
        driver
    }

    fn reply(&mut self, command: Command, answer: Answer) {
        self.result(command, Ok(answer));
    }

    fn result(&mut self, command: Command, result: Result<Answer, Refusal>) {
        let id = CommandId(self.next);
        self.next += 1;
        self.model.asked(id, &command);
        self.model.apply(&Event::Reply { command: id, result });
    }

    fn notice(&mut self, notice: Notice) {
        self.model.apply(&Event::Notice(notice));
    }

    /// Answers every waiting list command from `all`, as the engine would.
    fn serve(&mut self, all: &[MessageRow]) {
        for command in self.model.take_wants() {
            if let Command::MessageList { before, after, limit, .. } = &command {
                let limit = limit.unwrap() as usize;
                let at = |id: &MessageId| all.iter().position(|r| r.message == *id).unwrap();
                let page = match (before, after) {
                    (Some(id), _) => &all[at(id).saturating_sub(limit)..at(id)],
                    (_, Some(id)) => &all[at(id) + 1..(at(id) + 1 + limit).min(all.len())],
                    _ => &all[all.len().saturating_sub(limit)..],
                };
                let messages = page.to_vec();
                self.reply(command, Answer::Messages { messages });
            }
        }
    }

    fn texts(&self) -> Vec<&str> {
        self.model.timeline(G).unwrap().rows().map(|r| r.text.as_str()).collect()
    }
}

fn group_row() -> GroupRow {
    GroupRow { group: G, name: "Tuesday circle".into(), role: RoleName::Member, unread: 0, state: GroupState::Joined }
}

fn shown() -> Answer {
    Answer::Group {
        group: G,
        name: "Tuesday circle".into(),
        charter: "Be kind.".into(),
        epoch: 1,
        node: hearth_protocol::id::NodeId([0; 32]),
        members: vec![MemberRow {
            persona: YOU,
            name: "You".into(),
            role: RoleName::Member,
            you: true,
            unconfirmed: false,
        }],
        policy: PolicyRow {
            join: Join::Open,
            history_days: 0,
            slow_mode_s: 0,
            shield: false,
            template: None,
            suite: 1,
        },
        relays: vec![],
        state: GroupState::Joined,
    }
}

#[test]
fn opening_loads_details_and_the_newest_page_once() {
    let mut d = Driver::new();
    d.model.open(G);
    d.model.open(G);
    assert_eq!(d.model.take_wants(), vec![Command::GroupShow { group: G }, Timeline::newest_command(G)]);
    d.reply(Command::GroupShow { group: G }, shown());
    assert_eq!(d.model.you(G), Some(YOU));
    d.model.open(G);
    assert_eq!(d.model.take_wants(), vec![]);
}

#[test]
fn the_window_is_bounded_and_refetches_both_ways() {
    let all: Vec<_> = (0..1_000).map(|n| row(n, OTHER, Delivery::Reached)).collect();
    let mut d = Driver::new();
    d.model.open(G);
    d.serve(&all);
    assert_eq!(d.texts().len(), 100);
    assert_eq!(d.texts().last(), Some(&"message 999"));
    // Up to the very first message, dropping the newest on the way.
    for _ in 0..9 {
        let first = d.model.timeline(G).unwrap().rows().next().unwrap().message;
        d.model.reading(G, first, Some(Reach::Oldest));
        d.serve(&all);
        assert!(d.texts().len() <= TIMELINE_WINDOW);
    }
    assert_eq!(d.texts().first(), Some(&"message 0"));
    assert!(!d.model.timeline(G).unwrap().at_end());
    // One more look up learns that there is nothing before it.
    d.model.reading(G, id(0), Some(Reach::Oldest));
    d.serve(&all);
    assert!(d.model.timeline(G).unwrap().at_start());
    d.model.reading(G, id(0), Some(Reach::Oldest));
    assert_eq!(d.model.take_wants(), vec![]);
    // And down again.
    for _ in 0..8 {
        let last = d.model.timeline(G).unwrap().rows().last().unwrap().message;
        d.model.reading(G, last, Some(Reach::Newest));
        d.serve(&all);
        assert!(d.texts().len() <= TIMELINE_WINDOW);
    }
    assert_eq!(d.texts().last(), Some(&"message 999"));
    d.model.jump_to_newest(G);
    d.serve(&all);
    assert!(d.model.timeline(G).unwrap().at_end());
    let window = d.texts();
    assert!(window.windows(2).all(|w| w[0] != w[1]), "no row twice");
}

#[test]
fn a_late_message_is_placed_by_time_and_the_order_is_read_again() {
    let mut d = Driver::new();
    d.model.open(G);
    d.serve(&[row(1, OTHER, Delivery::Reached), row(3, OTHER, Delivery::Reached)]);
    d.notice(Notice::MessageNew { group: G, row: row(4, OTHER, Delivery::Reached) });
    assert_eq!(d.model.take_wants(), vec![]);
    d.notice(Notice::MessageNew { group: G, row: row(2, OTHER, Delivery::Reached) });
    assert_eq!(d.texts(), ["message 1", "message 2", "message 3", "message 4"]);
    assert_eq!(d.model.take_wants(), vec![Timeline::newest_command(G)]);
    d.notice(Notice::MessageNew { group: G, row: row(4, OTHER, Delivery::Reached) });
    assert_eq!(d.texts().len(), 4, "the same message twice is one row");
}

#[test]
fn unread_counts_others_and_ends_when_seen() {
    let mut d = Driver::new();
    d.model.open(G);
    d.reply(Command::GroupShow { group: G }, shown());
    d.notice(Notice::MessageNew { group: G, row: row(1, OTHER, Delivery::Reached) });
    d.notice(Notice::MessageNew { group: G, row: row(2, YOU, Delivery::Queued) });
    assert_eq!(d.model.group(G).unwrap().unread, 1);
    d.reply(Command::GroupSeen { group: G }, Answer::Done {});
    assert_eq!(d.model.group(G).unwrap().unread, 0);
}

#[test]
fn delivery_follows_notices_and_asks_for_missing_counts() {
    let mut d = Driver::new();
    d.model.open(G);
    d.model.take_wants();
    d.reply(Timeline::newest_command(G), Answer::Messages { messages: vec![row(1, YOU, Delivery::Held)] });
    d.reply(Command::GroupShow { group: G }, shown());
    assert_eq!(d.model.take_wants(), vec![Command::MessageStatus { group: G, message: id(1) }]);
    let status = Answer::MessageStatus { state: Delivery::Held, relays: 2, members_reached: 0, members_total: 8 };
    d.reply(Command::MessageStatus { group: G, message: id(1) }, status);
    assert_eq!(d.model.timeline(G).unwrap().delivery(id(1)), Some([2, 0, 8]));
    d.notice(Notice::MessageDelivery {
        group: G,
        message: id(1),
        state: Delivery::Reached,
        relays: 2,
        members_reached: 5,
        members_total: 8,
    });
    assert_eq!(d.model.timeline(G).unwrap().get(id(1)).unwrap().delivery, Delivery::Reached);
}

#[test]
fn a_changed_message_replaces_its_row() {
    let mut d = Driver::new();
    d.model.open(G);
    d.serve(&[row(1, OTHER, Delivery::Reached)]);
    let gone = MessageRow { text: String::new(), retracted: true, ..row(1, OTHER, Delivery::Reached) };
    d.notice(Notice::MessageChanged { group: G, row: gone });
    assert_eq!(d.texts(), [""]);
}

#[test]
fn locking_forgets_everything() {
    let mut d = Driver::new();
    d.model.open(G);
    d.reply(Command::GroupShow { group: G }, shown());
    d.reply(Command::VaultLock {}, Answer::Done {});
    assert!(d.model.locked() && d.model.exists());
    assert!(d.model.groups().is_empty() && d.model.timeline(G).is_none() && d.model.details(G).is_none());
    // A refusal that says "locked" does the same.
    let mut d = Driver::new();
    d.result(Command::GroupList {}, Err(Refusal::new(Kind::Locked, "unlock first")));
    assert!(d.model.locked() && d.model.groups().is_empty());
}

#[test]
fn resync_asks_for_everything_that_is_shown() {
    let mut d = Driver::new();
    d.model.open(G);
    d.model.take_wants();
    d.model.apply(&Event::Resync);
    let wants = d.model.take_wants();
    assert!(wants.contains(&Command::Status {}) && wants.contains(&Command::GroupList {}));
    assert!(wants.contains(&Command::GroupShow { group: G }) && wants.contains(&Timeline::newest_command(G)));
}

#[test]
fn a_failed_page_can_be_asked_for_again() {
    let all: Vec<_> = (0..200).map(|n| row(n, OTHER, Delivery::Reached)).collect();
    let mut d = Driver::new();
    d.model.open(G);
    d.serve(&all);
    d.model.reading(G, id(100), Some(Reach::Oldest));
    let command = d.model.take_wants().remove(0);
    d.model.reading(G, id(100), Some(Reach::Oldest));
    assert_eq!(d.model.take_wants(), vec![], "one page at a time");
    d.result(command, Err(Refusal::new(Kind::Storage, "the disk refused")));
    d.model.reading(G, id(100), Some(Reach::Oldest));
    assert_eq!(d.model.take_wants().len(), 1);
}
