//! Rows as text: what the timeline says, line by line.

use hearth_node::app::{
    Answer, Command, CommandId, Event, GroupRow, Join, MemberRow, PolicyRow, Reactions, RelayRow, RelayState, Utc,
};
use hearth_protocol::{id::NodeId, time::Timestamp as Ms};

use super::*;

const G: GroupId = GroupId([1; 32]);
/// Tuesday 24 November 2026, 19:40 UTC.
const NOW: u64 = 1_795_549_200_000;

fn person(n: u8) -> PersonaId {
    PersonaId([n; 32])
}

fn id(n: u8) -> MessageId {
    MessageId([n; 32])
}

fn message(n: u8, who: u8, minutes_ago: u64, text: &str) -> MessageRow {
    MessageRow {
        message: id(n),
        persona: person(who),
        name: ["You", "Steady Otter", "Copper Wren"][usize::from(who)].into(),
        text: text.into(),
        topic: None,
        reply_to: None,
        content_note: None,
        sent_at: Utc(Ms(NOW - minutes_ago * 60_000)),
        edited: false,
        retracted: false,
        reactions: Reactions::default(),
        delivery: Delivery::Reached,
    }
}

fn member(n: u8, name: &str, role: RoleName) -> MemberRow {
    MemberRow { persona: person(n), name: name.into(), role, you: n == 0, unconfirmed: false }
}

fn model(messages: Vec<MessageRow>) -> Model {
    let mut model = Model::new();
    let mut next = 1;
    let mut reply = |model: &mut Model, command: Command, answer: Answer| {
        let id = CommandId(next);
        next += 1;
        model.asked(id, &command);
        model.apply(&Event::Reply { command: id, result: Ok(answer) });
    };
    let unlock = Command::VaultUnlock { passphrase: hearth_node::app::Secret::new("x".into()) };
    reply(&mut model, unlock, Answer::Done {});
    let row = GroupRow {
        group: G,
        name: "Tuesday circle".into(),
        role: RoleName::Member,
        unread: 2,
        state: GroupState::Joined,
    };
    reply(&mut model, Command::GroupList {}, Answer::Groups { groups: vec![row] });
    model.open(G);
    let members = vec![
        member(2, "Copper Wren", RoleName::Member),
        member(0, "You", RoleName::Member),
        member(1, "Steady Otter", RoleName::Facilitator),
    ];
    let policy =
        PolicyRow { join: Join::Open, history_days: 7, slow_mode_s: 0, shield: false, template: None, suite: 1 };
    let shown = Answer::Group {
        group: G,
        name: "Tuesday circle".into(),
        charter: String::new(),
        epoch: 1,
        node: NodeId([0; 32]),
        members,
        policy,
        relays: vec![],
        state: GroupState::Joined,
    };
    reply(&mut model, Command::GroupShow { group: G }, shown);
    for command in model.take_wants() {
        if matches!(command, Command::MessageList { .. }) {
            reply(&mut model, command, Answer::Messages { messages: messages.clone() });
        }
    }
    model
}

/// The timeline as a page of text.
fn page(model: &Model, reading: &Reading) -> Vec<String> {
    let clock = Clock { now: Timestamp::from_millisecond(i64::try_from(NOW).unwrap()).unwrap(), zone: TimeZone::UTC };
    let items = timeline(model, G, reading, &clock);
    items
        .iter()
        .map(|item| match item {
            Item::Start(words) => format!("start: {words}"),
            Item::Day(_, words) => format!("day: {words}"),
            Item::New(_, words) => format!("new: {words}"),
            Item::Message(m) => {
                let mut line = if m.head { format!("{} {}: ", m.author, m.time) } else { "  ".into() };
                line.push_str(&m.quote.as_ref().map(|q| format!("[{q}] ")).unwrap_or_default());
                line.push_str(&match &m.body {
                    Body::Text(text) | Body::Folded(text) => text.to_string(),
                    Body::Veiled => format!("({})", m.note.as_deref().unwrap_or("")),
                    Body::Retracted => "taken back".into(),
                });
                for reaction in &m.reactions {
                    line.push_str(&format!(" <{}>", reaction.words));
                }
                line.push_str(&m.delivery.as_ref().map(|d| format!(" | {d}")).unwrap_or_default());
                line
            }
        })
        .collect()
}

#[test]
fn a_timeline_reads_like_a_page() {
    let mut answer = message(5, 0, 3, "thank you");
    answer.reply_to = Some(id(3));
    answer.delivery = Delivery::Queued;
    let mut hard = message(3, 2, 20, "it was hard");
    hard.content_note = Some("a lapse".into());
    hard.reactions.with_you = vec![person(0), person(1)];
    let rows = vec![
        message(1, 1, 1_600, "hello"),
        message(2, 1, 1_595, "and welcome"),
        hard,
        message(4, 1, 10, "with you"),
        answer,
    ];
    let model = model(rows);
    let reading = Reading { new_from: Some(id(4)), ..Reading::default() };
    assert_eq!(
        page(&model, &reading),
        [
            "start: You see what was written since you joined, and up to 7 days before.",
            "day: Yesterday",
            "Steady Otter 17:00: hello",
            "  and welcome",
            "day: Today",
            "Copper Wren 19:20: (a lapse) <With you · you and Steady Otter>",
            "new: New since 19:30",
            "Steady Otter 19:30: with you",
            "You 19:37: [Copper Wren: content note: a lapse] thank you | waiting on this computer",
        ]
    );
}

#[test]
fn a_veiled_text_is_in_no_row_until_it_is_shown() {
    let mut hard = message(3, 2, 20, "it was hard");
    hard.content_note = Some("a lapse".into());
    let model = model(vec![hard]);
    let clock = Clock { now: Timestamp::from_millisecond(i64::try_from(NOW).unwrap()).unwrap(), zone: TimeZone::UTC };
    let all = |reading: &Reading| format!("{:?}", timeline(&model, G, reading, &clock));
    assert!(!all(&Reading::default()).contains("it was hard"));
    let shown = Reading { shown: [id(3)].into(), ..Reading::default() };
    assert!(all(&shown).contains("it was hard"));
}

#[test]
fn reactions_name_two_people_and_count_nobody() {
    let mut row = message(1, 2, 5, "x");
    row.reactions.thank_you = vec![person(1), person(2), person(0), person(9)];
    let model = model(vec![row]);
    let page = page(&model, &Reading::default()).join("\n");
    assert!(page.contains("<Thank you · Steady Otter, Copper Wren and others>"), "{page}");
}

#[test]
fn delivery_is_said_as_it_is() {
    assert_eq!(delivery_words(Delivery::Queued, None), "waiting on this computer");
    assert_eq!(delivery_words(Delivery::Held, Some([2, 0, 9])), "held by 2 relays");
    assert_eq!(delivery_words(Delivery::Held, Some([1, 0, 9])), "held by 1 relay");
    assert_eq!(delivery_words(Delivery::Reached, Some([2, 5, 9])), "reached 5 of 9 members");
    // On one's own messages, and only while nobody has them.
    let model = model(vec![message(1, 0, 5, "mine"), message(2, 1, 4, "theirs")]);
    assert!(!page(&model, &Reading::default()).join("").contains('|'));
}

#[test]
fn members_begin_with_those_who_look_after_the_group() {
    let model = model(vec![]);
    let lines: Vec<String> = members(&model, G).iter().map(|m| format!("{} ({})", m.name, m.note)).collect();
    assert_eq!(lines, ["Steady Otter (facilitator)", "Copper Wren (member)", "You (member · you)"]);
}

#[test]
fn groups_and_status_are_spoken_in_words() {
    let model = model(vec![]);
    assert_eq!(groups(&model, None)[0].spoken(), "Tuesday circle, 2 new messages");
    let model = connected("direct", &[]);
    assert!(status(&model).ends_with(" · No member or relay connected · no relay"));
    assert!(status(&connected("direct", &[(RelayState::Ok, true)])).ends_with(" · No member connected · 1 relay"));
}

/// A model that was told of these relays: their states, and whether they see the address.
fn connected(mode: &'static str, relays: &[(RelayState, bool)]) -> Model {
    let mut model = Model::new();
    let row = |(n, (state, sees_address)): (usize, &(RelayState, bool))| RelayRow {
        address: format!("/ip4/198.51.100.{n}/tcp/4101"),
        state: *state,
        held: 0,
        sees_address: *sees_address,
    };
    let answer = Answer::Status {
        locked: false,
        exists: true,
        mode,
        version: "0",
        groups: 1,
        peers: 0,
        relays: relays.iter().enumerate().map(row).collect(),
        store_bytes: 0,
    };
    model.asked(CommandId(1), &Command::Status {});
    model.apply(&Event::Reply { command: CommandId(1), result: Ok(answer) });
    model
}

#[test]
fn the_status_line_says_from_whom_the_address_is_hidden() {
    let (ok, away) = (RelayState::Ok, RelayState::Unreachable);
    for (mode, relays, line) in [
        (
            "direct",
            vec![],
            "Direct mode: members and relays can see your network address · No member or relay connected · no relay",
        ),
        (
            "relayed",
            vec![],
            "Relayed mode: members cannot see your network address; no group has a relay yet · no relay",
        ),
        (
            "relayed",
            vec![(ok, false), (ok, false)],
            "Relayed mode: members cannot see your network address, and no relay sees it beside what you send there · 2 relays",
        ),
        (
            "relayed",
            vec![(away, true)],
            "Relayed mode: members cannot see your network address; one relay can, for there is no other to go through · 1 relay, out of reach",
        ),
        ("tor", vec![(ok, false)], "Tor mode: neither members nor relays can see your network address · 1 relay"),
        (
            "tor",
            vec![(away, false), (away, false)],
            "Tor mode: nobody can see your network address; nothing is sent until a relay is reached through Tor · 0 of 2 relays",
        ),
    ] {
        assert_eq!(status(&connected(mode, &relays)), line);
    }
}

#[test]
fn long_bodies_are_folded_until_asked() {
    let model = model(vec![message(1, 1, 5, &"long ".repeat(5_000))]);
    let clock = Clock { now: Timestamp::from_millisecond(i64::try_from(NOW).unwrap()).unwrap(), zone: TimeZone::UTC };
    let body = |reading: &Reading| match timeline(&model, G, reading, &clock).pop() {
        Some(Item::Message(m)) => m.body,
        other => panic!("{other:?}"),
    };
    assert!(matches!(body(&Reading::default()), Body::Folded(part) if part.len() < 3_000));
    let unfolded = Reading { unfolded: [id(1)].into(), ..Reading::default() };
    assert!(matches!(body(&unfolded), Body::Text(_)));
}
