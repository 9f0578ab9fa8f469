//! A relay or a peer that says what it likes: the engine loses nothing, and is not led in circles. Simulated time, model MLS.

use hearth_crypto::model::ModelMls;
use hearth_node::{
    app::{self, Command, CommandId, Delivery, Event, Join},
    engine::{
        Effects, Engine, EngineConfig, Input,
        lane::{LaneCommand, LaneEvent, LaneKey, LinkId, Ticket},
    },
};
use hearth_protocol::{
    card::SignedCard,
    cbor,
    id::{GroupId, MessageId},
    limits::FRAME_SMALL,
    mailbox::{Action, Answer, Blob, Refusal, relay_key},
    sync::{SyncMessage, SyncSet},
    time::Timestamp,
};

const START: u64 = 1_767_225_600_000;
const ADDRESS: &str = "/ip4/127.0.0.1/tcp/4000/p2p/12D3KooWLyingRelay";
const HOP_MS: u64 = 2;
const MINUTE_MS: u64 = 60_000;
/// In a minute, from an empty relay on: a few dozens. Without a brake there would be 30,000.
const REQUESTS_MAX: usize = 1_000;

/// One member, alone with a relay or a peer.
struct Member {
    engine: Engine<ModelMls>,
    now: u64,
    wake: Option<u64>,
    asked: Vec<(Ticket, Action)>,
    lanes: Vec<LaneKey>,
    /// What was sent to peers.
    told: Vec<Vec<u8>>,
    hung_up: Vec<LinkId>,
    reply: Option<app::Answer>,
    group: GroupId,
}

impl Member {
    fn new() -> Self {
        let config = EngineConfig { relays: vec![ADDRESS.into()], ..EngineConfig::default() };
        let engine = Engine::new(ModelMls::new([7; 32]), config, [8; 32]);
        let mut member = Self {
            engine,
            now: START,
            wake: None,
            asked: Vec::new(),
            lanes: Vec::new(),
            told: Vec::new(),
            hung_up: Vec::new(),
            reply: None,
            group: GroupId([0; 32]),
        };
        let (name, join) = ("Liars".into(), Join::Open);
        let create = Command::GroupCreate { name, template: None, join, history_days: None, persona: None };
        let app::Answer::GroupCreated { group, .. } = member.command(create) else { panic!("no group") };
        member.group = group;
        member.up();
        member
    }

    fn input(&mut self, input: Input) {
        let Effects { send, emit, wake_at, .. } = self.engine.handle(input, Timestamp(self.now));
        if let Some(at) = wake_at {
            self.wake = Some(self.wake.map_or(at.0, |wake| wake.min(at.0)));
        }
        for command in send {
            match command {
                LaneCommand::Relay { ticket, action, address, .. } => {
                    assert_eq!(address, ADDRESS);
                    self.asked.push((ticket, action));
                }
                LaneCommand::Open { lane, .. } => self.lanes.push(lane),
                LaneCommand::Send { message, .. } => self.told.push(message),
                LaneCommand::Hangup { link, .. } => self.hung_up.push(link),
                _ => {}
            }
        }
        for event in emit {
            if let Event::Reply { result, .. } = event {
                self.reply = result.ok();
            }
        }
    }

    fn command(&mut self, command: Command) -> app::Answer {
        self.input(Input::Command { id: CommandId(1), command });
        self.reply.take().unwrap()
    }

    fn lane(&mut self, event: LaneEvent) {
        self.input(Input::Lane(event));
    }

    fn up(&mut self) {
        let relay_key = relay_key("12D3KooWLyingRelay");
        self.lane(LaneEvent::RelayUp { group: self.group, address: ADDRESS.into(), relay_key });
    }

    /// The relay is gone and back; what was asked of it stays unanswered.
    fn again(&mut self) {
        self.asked.clear();
        self.lane(LaneEvent::RelayDown { group: self.group, address: ADDRESS.into() });
        self.up();
    }

    /// Lives for so long with a relay that answers like this; how often it was asked.
    fn live(&mut self, ms: u64, answer: &dyn Fn(&Action) -> Answer) -> usize {
        let until = self.now + ms;
        let mut count = 0;
        while self.now < until {
            let asked = std::mem::take(&mut self.asked);
            if asked.is_empty() {
                self.now = self.wake.take().map_or(until, |wake| wake.clamp(self.now + 1, until));
                self.input(Input::Tick);
                continue;
            }
            self.now += HOP_MS;
            count += asked.len();
            for (ticket, action) in asked {
                self.lane(LaneEvent::RelayAnswer { group: self.group, ticket, answer: Ok(answer(&action)) });
            }
        }
        count
    }

    fn say(&mut self) -> MessageId {
        let (group, text) = (self.group, "still here".into());
        let command = Command::MessageSend {
            group,
            text,
            topic: None,
            reply_to: None,
            content_note: None,
            expires_in_s: None,
            library_consent: None,
        };
        let app::Answer::Message { message } = self.command(command) else { panic!("not said") };
        message
    }

    fn delivery(&mut self, message: MessageId) -> (Delivery, usize) {
        let group = self.group;
        let app::Answer::MessageStatus { state, relays, .. } = self.command(Command::MessageStatus { group, message })
        else {
            panic!("no status")
        };
        (state, relays)
    }
}

/// As a relay answers that has everything, and nothing to read.
fn honest(action: &Action) -> Answer {
    match action {
        Action::Create { .. } => Answer::Created,
        Action::Put { .. } => Answer::Stored { seq: 1 },
        Action::Get { .. } | Action::Subscribe { .. } => Answer::Blobs { blobs: Vec::new(), more: false },
        Action::SlotPut { .. } | Action::SlotRotate { .. } => Answer::SlotStored,
        Action::SlotGet { .. } => Answer::Refused(Refusal::NotFound),
    }
}

fn blobs(from: u64, to: u64, more: bool) -> Answer {
    Answer::Blobs { blobs: (from..=to).map(|seq| Blob { seq, bytes: vec![9; FRAME_SMALL] }).collect(), more }
}

type Liar = (String, Box<dyn Fn(&Action) -> Answer>);

fn liars() -> Vec<Liar> {
    use Refusal::{Busy, Full, Invalid, NotFound, Signature, Size, Version, Work};
    let read = |action: &Action| matches!(action, Action::Get { .. } | Action::Subscribe { .. });
    let slot = |action: &Action| matches!(action, Action::SlotPut { .. } | Action::SlotRotate { .. });
    let mut liars: Vec<Liar> = vec![
        ("more of nothing".into(), Box::new(move |a| if read(a) { blobs(1, 0, true) } else { honest(a) })),
        ("the same for ever".into(), Box::new(move |a| if read(a) { blobs(1, 64, true) } else { honest(a) })),
        (
            "the last number".into(),
            Box::new(move |a| if read(a) { blobs(u64::MAX, u64::MAX, true) } else { honest(a) }),
        ),
        (
            "another's slot at its last version".into(),
            Box::new(|a| match a {
                Action::SlotGet { .. } => Answer::Slot { version: u64::MAX, write_pk: [1; 32], bodies: Vec::new() },
                _ => honest(a),
            }),
        ),
    ];
    for refusal in [NotFound, Full, Signature, Work, Busy, Size, Version, Invalid] {
        let no = move || Answer::Refused(refusal);
        liars.push((format!("{refusal:?} always"), Box::new(move |_| no())));
        liars.push((format!("{refusal:?} to readers"), Box::new(move |a| if read(a) { no() } else { honest(a) })));
        liars.push((format!("{refusal:?} to slots"), Box::new(move |a| if slot(a) { no() } else { honest(a) })));
        let puts = move |a: &Action| if matches!(a, Action::Put { .. }) { no() } else { honest(a) };
        liars.push((format!("{refusal:?} to blobs"), Box::new(puts)));
    }
    liars
}

#[test]
fn no_answer_leads_in_circles_or_loses_a_message() {
    for (name, answer) in liars() {
        let mut member = Member::new();
        let invite = Command::InviteCreate { group: member.group, uses: None, expires_in_s: None, role: None };
        member.input(Input::Command { id: CommandId(2), command: invite });
        let first = member.say();
        let asked = member.live(MINUTE_MS, &*answer);
        assert!(asked <= REQUESTS_MAX, "{name}: asked {asked} times in a minute");
        // Taken, or still on its way; never half.
        let state = member.delivery(first);
        assert!([(Delivery::Queued, 0), (Delivery::Held, 1)].contains(&state), "{name}: {state:?}");
        // The relay has come to its senses: everything that it did not take is offered again.
        member.again();
        let second = member.say();
        member.live(MINUTE_MS, &honest);
        for message in [first, second] {
            assert_eq!(member.delivery(message), (Delivery::Held, 1), "{name}");
        }
    }
}

/// Blobs outlive 30 or 120 days, so a queue may begin with any number: a reader goes on from there.
#[test]
fn a_queue_whose_first_blobs_have_outlived_their_time_is_read_to_its_end() {
    let mut member = Member::new();
    let (asked, answer) = (std::cell::RefCell::new(Vec::new()), |action: &Action| match action {
        Action::Subscribe { after: 0, .. } => blobs(65, 128, true),
        Action::Get { after: 128, .. } => blobs(129, 130, false),
        _ => honest(action),
    });
    let noted = |action: &Action| {
        asked.borrow_mut().push(action.clone());
        answer(action)
    };
    member.live(MINUTE_MS, &noted);
    let begun = |of: fn(&Action) -> Option<u64>| asked.take().iter().filter_map(of).collect::<Vec<u64>>();
    let gets = begun(|a| if let Action::Get { after, .. } = a { Some(*after) } else { None });
    assert!(!gets.is_empty() && gets.iter().all(|after| *after == 128), "{gets:?}");
    // What was read is not read again.
    member.again();
    member.live(MINUTE_MS, &noted);
    let afters = begun(|a| if let Action::Subscribe { after, .. } = a { Some(*after) } else { None });
    assert!(!afters.is_empty() && afters.iter().all(|after| *after == 130), "{afters:?}");
}

/// The first word on a link is a member's card for that very link.
#[test]
fn whoever_greets_with_anything_but_its_own_card_is_sent_away() {
    let mut member = Member::new();
    let lane = member.lanes[0];
    member.lane(LaneEvent::Listening { lane, peer: vec![1; 38], addresses: vec!["/ip4/127.0.0.1/tcp/1".into()] });
    let up = |link| LaneEvent::LinkUp { lane, link: LinkId(link), peer: vec![2; 38], outbound: false };
    member.lane(up(0));
    let hello = member.told.pop().unwrap();
    let SyncMessage::Hello { card, base } = cbor::read(&hello).unwrap() else { panic!("no greeting") };
    let set = SyncSet::Control;
    let words = [
        ("noise", (0..5_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("nested", vec![0x81; 100_000]),
        ("half a greeting", hello[..hello.len() - 1].to_vec()),
        ("a greeting and a byte", [&hello[..], &[0]].concat()),
        ("a recorded greeting", hello.clone()),
        (
            "a card that nobody signed",
            cbor::to_vec(&SyncMessage::Hello { card: SignedCard { sig: [0; 64], ..card.clone() }, base }),
        ),
        (
            "a card of noise",
            cbor::to_vec(&SyncMessage::Hello { card: SignedCard { content: vec![0x81; 900], ..card }, base }),
        ),
        ("a question", cbor::to_vec(&SyncMessage::Want { set, ids: vec![vec![3; 32].into()] })),
        ("a comparison", cbor::to_vec(&SyncMessage::Reconcile { set, to_initiator: false, payload: vec![0x61] })),
        ("an answer", cbor::to_vec(&SyncMessage::Items { packets: vec![vec![3; 32].into()] })),
        ("an end", cbor::to_vec(&SyncMessage::Done { set })),
    ];
    for (link, (what, message)) in (1..).zip(words) {
        member.lane(up(link));
        member.told.clear();
        member.lane(LaneEvent::Message { lane, link: LinkId(link), message });
        assert_eq!(member.hung_up.pop(), Some(LinkId(link)), "{what}");
        assert!(member.told.is_empty(), "{what}: told something");
        member.lane(LaneEvent::LinkDown { lane, link: LinkId(link) });
    }
    let said = member.say();
    assert_eq!(member.delivery(said), (Delivery::Queued, 0));
}
